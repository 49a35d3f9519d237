"""Processes: their setup, the lock of an output directory, and how all of them end together."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from snn_cace.errors import InputError

LOCK = ".lock"
"""The file within an output directory that its writer locks; it stays, unlocked, when the writer is done. A writer that
is refused leaves none that was not there.
"""
PR_SET_PDEATHSIG = 1
"""Linux's prctl option: which signal this process gets when its parent ends."""


class TerminatedError(BaseException):
    """SIGTERM, as an exception: like Ctrl-C's it passes every `except Exception`, and every `finally` runs."""


def raise_on_sigterm() -> None:
    """Have SIGTERM end this process as Ctrl-C does; only the main thread may ask for that, others leave it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)


def terminate(number: int, frame: Any) -> None:
    # Once: what runs while the process ends is not broken off again.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise TerminatedError


@contextmanager
def errors_told_once() -> Iterator[None]:
    """Without the traceback of a thread that keeps its error for the main thread to raise, as TensorBoard's writer
    does.
    """
    before = threading.excepthook

    def told(error: threading.ExceptHookArgs) -> None:
        if getattr(error.thread, "exception", None) is not error.exc_value:
            before(error)

    threading.excepthook = told
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def sole_writer(directory: str | Path) -> Iterator[None]:
    """Hold the lock of an output directory, which is made where it is missing; an InputError within leaves no lock, and
    no directory without any other file, that was not there.

    Raises:
        InputError: another process holds it, or its name would be taken for that of a remote file.
    """
    if any(mark in str(directory) for mark in ("::", "://")):
        # fsspec, by which Lightning opens checkpoints, would look for a file elsewhere.
        raise InputError(f"{directory}: an output directory is a path on this machine, without '::' or '://'")
    directory = Path(directory)
    made, locked_before = not directory.exists(), (directory / LOCK).exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{directory} is being written by another process; wait for it, or give another --output"
        ) from None
    except OSError as error:
        raise InputError(f"cannot write into {directory}: {error.strerror or error}; give another --output") from None
    try:
        yield
    except InputError:
        if not locked_before:  # while it is held: nobody else's is taken away
            (directory / LOCK).unlink(missing_ok=True)
        raise
    finally:
        lock.release()
        if made and is_unused(directory):
            (directory / LOCK).unlink(missing_ok=True)
            directory.rmdir()


def is_unused(directory: Path) -> bool:
    """Whether nothing has been written into a directory, or it is not there yet."""
    if not directory.exists():
        return True
    return directory.is_dir() and all(entry.name == LOCK for entry in directory.iterdir())


def refuse_used(directory: Path) -> None:
    """Raise InputError if an output directory holds anything."""
    if not is_unused(directory):
        raise InputError(f"{directory} is not empty; give a fresh --output")


def flush_denormals(flush: bool = True) -> None:
    """Have this thread, and every OpenMP thread of PyTorch, take numbers below 1.2e-38 (float32) as zero, or not.

    A processor computes with such denormal numbers in microcode, many times slower: gradients of a trained network are
    full of them. Results keep all that is above. Threads started later inherit it from the thread that starts them.
    """
    import torch

    from neurons.kernels.threads import in_every_thread

    in_every_thread(lambda: torch.set_flush_denormal(flush))


def look_at_old_objects_seldom() -> None:
    """Have the garbage collector look at objects that have stayed ten times less often; at young ones as before.

    Importing PyTorch and Lightning makes a million that stay. Looking at them again and again slows the start of every
    command (`benchmarks/starting.sh`).
    """
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 100)


RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Variables that Lightning reads as numbers when it is imported."""


def ignore_foreign_ranks() -> None:
    """Take away those of `RANKS` that are no numbers: nobody has started this process as one of several by them."""
    for name in RANKS:
        if not os.environ.get(name, "0").isdigit():
            del os.environ[name]


def workers() -> Any:
    """Where processes come from: forks of one that has imported what takes seconds to import, and done nothing else.

    What runs in them calls `start_worker` first.
    """
    context = multiprocessing.get_context("forkserver")
    modules = ("training.forked", "training.run", "comparison.run", "comparison.measurements")
    context.set_forkserver_preload([*(f"snn_cace.{module}" for module in modules), "snn_cace.benchmark"])
    return context


def start_fork_server() -> None:
    """Have what `workers()` forks import beside this process, which has much to import itself."""
    workers()
    forkserver.ensure_running()


def start_worker(threads: int | None = None) -> None:
    """Ready a process of `workers()`: it ends when its parent does, is ready to compute, and has so many threads."""
    end_with_parent()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    flush_denormals()


def start_data_worker(index: int) -> None:
    """Ready a data loader's worker, a child of the process that reads from it."""
    end_by_kernel()
    flush_denormals()


def start_decoder(index: int) -> None:
    """Ready a data loader's worker that `workers()` made: it ends when the process that reads from it does."""
    end_with_parent()


def end_with_parent() -> None:
    """End this process of `workers()` as soon as the one that asked for it has ended, however that came.

    Its parent in the kernel's eyes is the fork server; multiprocessing gives each a pipe that closes with the other.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=end_after, args=(parent,), daemon=True).start()


def end_after(parent: Any) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def end_by_kernel() -> None:
    """On Linux, have the kernel end this process when its parent ends; kept when it becomes another program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_children() -> None:
    """End every process of `workers()` that this one has started, and wait for it."""
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
