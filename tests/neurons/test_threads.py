"""Work shared among threads: every part once, in any pool, and failures come back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from neurons import threads
from neurons.threads import openmp_of_torch, part_of, shared_among_threads


@pytest.fixture(params=["openmp", "pool"], autouse=True)
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "pool":
        monkeypatch.setattr(threads, "openmp_of_torch", lambda: None)
    elif openmp_of_torch() is None:
        pytest.skip("PyTorch has loaded no OpenMP here")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_every_part_runs_once(count: int):
    parts: list[tuple[int, int]] = []
    shared_among_threads(lambda start, stop: parts.append((start, stop)), count, 1)
    assert sorted(parts) == [part_of(count, part, len(parts)) for part in range(len(parts))]
    assert sum(stop - start for start, stop in parts) == count
    assert len(parts) <= 2


def test_little_work_stays_in_one_thread():
    parts: list[tuple[int, int]] = []
    shared_among_threads(lambda start, stop: parts.append((start, stop)), 9, 5)
    assert parts == [(0, 9)]


def test_what_goes_wrong_in_a_thread_is_raised():
    def run(start: int, stop: int) -> None:
        if stop == 10:
            raise KeyError("the last part")

    with pytest.raises(KeyError, match="the last part"):
        shared_among_threads(run, 10, 1)
