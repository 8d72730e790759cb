"""Whatever a config file has in it: a config, or problems with their places. See support."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from support.config_fuzz import EXAMPLE, FILES, outcome

seen: Counter[str] = Counter()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(FILES)
def test_fault_34_whatever_is_in_it_a_file_is_a_config_or_problems_with_places(
    tmp_path: Path, raw: bytes
) -> None:
    seen[outcome(tmp_path / "config.yaml", raw)] += 1


@pytest.mark.parametrize("end", range(0, len(EXAMPLE.read_bytes()), 997))
def test_fault_34_half_an_example_is_a_config_or_problems_as_well(tmp_path: Path, end: int) -> None:
    raw = EXAMPLE.read_bytes().replace(
        b"token_file: /run/secrets/talkover", b"token: ${TALKOVER_TOKEN}"
    )
    outcome(tmp_path / "config.yaml", raw[:end])
