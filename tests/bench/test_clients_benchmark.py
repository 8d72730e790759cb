"""The short form of `make benchmark PART=clients`: what depends on no other work of the machine."""

import asyncio

import pytest

from benchmarks.clients import MEMORY_RATIO, measure


@pytest.mark.slow(seconds=20)
def test_fault_46_clients_that_never_read_or_leave_cost_no_memory() -> None:
    found = asyncio.run(measure(campaigns=2000, pages=1))
    _, one, *crowds = (seen.memory for seen in found.values())
    assert max(crowds) <= MEMORY_RATIO * one
    assert all(max(seen.pages) < 30 for seen in found.values()), "the page never came"
