"""Work shared among threads: every part once, with OpenMP or without, and failures come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock

from neurons.kernels import threads
from neurons.kernels.threads import in_threads, openmp_of_torch, shared_among_threads


@pytest.fixture(params=["openmp", "none"], autouse=True)
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "none":
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
    assert [place for part in sorted(parts) for place in range(*part)] == list(range(count))
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


class Kernel:
    """Stands for one of Numba's: where its cache lies, and the parts that it ran."""

    def __init__(self, directory: Path) -> None:
        self.stats = SimpleNamespace(cache_path=str(directory))
        self.parts: list[tuple[int, int]] = []

    def __call__(self, values: np.ndarray, start: int, stop: int, factor: float) -> None:
        self.parts.append((start, stop))
        values[start:stop] *= factor


def test_one_process_at_a_time_runs_a_kernel_first_and_nobody_waits_later(tmp_path: Path):
    kernel, values = Kernel(tmp_path), np.ones(4)
    with FileLock(tmp_path / ".compiling.lock"):
        first = Thread(target=in_threads, args=(kernel, (values,), 4, 2, 3.0))
        first.start()
        first.join(0.3)
        assert kernel.parts == []
    first.join()
    assert values.tolist() == [3.0] * 4
    with FileLock(tmp_path / ".compiling.lock"):
        in_threads(kernel, (values,), 4, 2, 3.0)
    assert values.tolist() == [9.0] * 4
