"""Compiled kernels, run in the threads that PyTorch has waiting."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

COMPILED: set[tuple[Any, ...]] = set()
"""Kernels that this process has run, each with the types of its arrays."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit(**options)`: its code is kept on disk, or in this process alone where Numba may write nowhere."""
    from numba import njit

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # Numba: "no locator available", not even below $NUMBA_CACHE_DIR
            return njit(nogil=True, **options)(function)

    return decorate


def in_threads(kernel: Any, before: Sequence[Any], count: int, least: int, *after: Any) -> None:
    """`kernel(*before, start, stop, *after)`, compiled by Numba, over 0 ... count in as many threads as pay.

    The first run of a kernel in a process compiles it, or loads it from Numba's cache. One process at a time does: two
    that store a kernel for different types at once may each leave its code under the other's name.
    """
    key = (kernel, *(getattr(given, "dtype", None) for given in (*before, *after)))
    with nullcontext() if key in COMPILED else one_process_at_a_time(kernel):
        shared_among_threads(lambda start, stop: kernel(*before, start, stop, *after), count, least)
    COMPILED.add(key)


def one_process_at_a_time(kernel: Any) -> AbstractContextManager[Any]:
    if kernel.stats.cache_path is None:  # kept in this process alone
        return nullcontext()
    directory = Path(kernel.stats.cache_path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return FileLock(directory / ".compiling.lock")
    except OSError:
        return nullcontext()


def shared_among_threads(run: Callable[[int, int], object], count: int, least: int) -> None:
    """`run(start, stop)` over 0 ... count in as many threads as PyTorch uses, each with at least `least` of them; in
    this one alone where PyTorch has no OpenMP.

    PyTorch's OpenMP threads wait by spinning: threads of another pool would find every core taken. So the work runs in
    OpenMP's own (`GOMP_parallel`, which LLVM's and Intel's have too). `run` must release the GIL to be worth it.
    """
    threads = max(1, min(torch.get_num_threads(), count // least))
    openmp = openmp_of_torch()
    if threads == 1 or openmp is None:
        run(0, count)
        return
    failures: list[BaseException] = []

    def body(_: Any) -> None:
        part, parts = openmp.omp_get_thread_num(), openmp.omp_get_num_threads()  # may be fewer than asked for
        try:
            run(count * part // parts, count * (part + 1) // parts)
        except BaseException as failure:
            failures.append(failure)

    openmp.GOMP_parallel(BODY(body), None, threads, 0)
    if failures:
        raise failures[0]


def in_every_thread(run: Callable[[], object]) -> None:
    """`run()` in this thread and in each of the OpenMP threads that PyTorch uses."""
    shared_among_threads(lambda start, stop: run(), torch.get_num_threads(), 1)


BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def openmp_of_torch() -> Any:
    """The OpenMP library that PyTorch has loaded, or None where there is none to be found."""
    if not torch.backends.openmp.is_available():
        return None
    try:
        loaded = ctypes.CDLL(None)
        wanted = (loaded.GOMP_parallel, loaded.omp_get_thread_num, loaded.omp_get_num_threads)
    except (OSError, AttributeError, TypeError):
        return None
    wanted[0].restype = None
    return loaded
