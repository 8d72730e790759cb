"""The short form of anything as a request; `make torture PART=requests` is the long one."""

import pytest

from torture import requests


@pytest.mark.slow(seconds=10)
def test_fault_46_no_request_is_a_fault_of_ours_nor_fills_the_log() -> None:
    assert [figure for figure in requests.main(["--seconds", "5"]) if not figure.kept] == []
