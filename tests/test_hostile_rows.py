"""Whatever stands in the rows of the state: the daemon starts, and nothing is healthy by mistake.

Of this kind: a body that is cut, flipped, of another version, or hostile; columns of another type
than theirs; text that is no UTF-8; instants beyond any calendar. What cannot be read is said
(`state_row_lost`) and not known; what can be read and is nonsense spoils no view and no poll. For
five minutes of it: `make torture PART=rows`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.hostile_rows import SPOILINGS, Spoiling, a_state, check


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Sequence[Mapping[str, Any]]]:
    return a_state(tmp_path_factory.mktemp("stored"))


@pytest.mark.slow(seconds=10)
@settings(max_examples=settings().max_examples // 5 + 1)
@given(spoilings=st.lists(SPOILINGS, min_size=1, max_size=4))
def test_fault_40_a_daemon_starts_on_whatever_stands_in_the_rows(
    stored: tuple[bytes, Sequence[Mapping[str, Any]]], spoilings: Sequence[Spoiling]
) -> None:
    state, before = stored
    with TemporaryDirectory() as folder:
        check(Path(folder), state, before, spoilings)
