"""The short form of the attacks on the web server; `make torture PART=web` is the long one."""

import pytest

from torture import web


@pytest.mark.slow(seconds=40)
def test_fault_46_slow_and_greedy_clients_keep_neither_prometheus_out_nor_polls_back() -> None:
    assert [figure for figure in web.main(["--seconds", "10"]) if not figure.kept] == []
