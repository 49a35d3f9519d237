"""Engines: a run whose process is killed goes on, one that fails for good is named, and Ray does the same."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from small import small_experiment, write_ave

from snn_cace.comparison.engine import ATTEMPTS, Task, open_engine, train_all
from snn_cace.comparison.plan import Run
from snn_cace.config import Experiment, as_yaml
from snn_cace.errors import InputError
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.run import train

pytestmark = pytest.mark.slow


def run_of(experiment: Experiment, directory: Path) -> Run:
    return Run(experiment, experiment.training.seed, RunFiles(directory))


def epochs_of(run: Run) -> list:
    return json.loads(run.files.history.read_text()) if run.files.history.is_file() else []


def kill_once(run: Run, find: Callable[[], list[psutil.Process]], seen: list[int]) -> threading.Thread:
    """A thread that kills the processes which train as soon as `run` has an epoch, and adds to `seen` how many it had
    then.
    """

    def wait_and_kill() -> None:
        while not epochs_of(run):
            time.sleep(0.01)
        kill(find())
        seen.append(len(epochs_of(run)))

    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    return thread


@pytest.mark.parametrize("launcher", ["local", "ray"])
def test_a_killed_worker_s_run_goes_on_to_the_same_numbers(launcher: str, tmp_path: Path):
    if launcher == "ray":
        pytest.importorskip("ray")
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=15)
    bad = small_experiment(tmp_path / "nowhere")
    bad.name = "bad"
    run = run_of(experiment, tmp_path / "run")
    broken = run_of(dataclasses.replace(experiment, name="broken"), tmp_path / "broken")
    broken.files.directory.mkdir()
    broken.files.config.write_text(as_yaml(broken.experiment))
    broken.files.history.mkdir()  # what it cannot write, as on a full disk
    with open_engine(launcher, jobs=2) as engine:  # type: ignore[arg-type]
        seen: list[int] = []
        killer = kill_once(run, lambda: training_processes(launcher), seen)
        failed = train_all([Task(run), Task(run_of(bad, tmp_path / "bad")), Task(broken)], engine)
        killer.join()
    assert 1 <= seen[0] < 15, "killed in the middle"
    assert set(failed) == {"bad, seed 0", "broken, seed 0"}
    assert "Error: " in failed["broken, seed 0"]
    assert "Traceback" in (tmp_path / "broken.log").read_text()
    assert "no directory" in failed["bad, seed 0"]
    one_thread(lambda: train(experiment, tmp_path / "whole", quiet=True))
    assert epochs_of(run) == json.loads((tmp_path / "whole" / "history.json").read_text())


def training_processes(launcher: str) -> list[psutil.Process]:
    """The processes that train, of this one's children: all but the fork server's and Ray's own."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # one that has ended meanwhile
            words, parent = process.cmdline(), process.ppid()
            if launcher == "ray":
                trains = bool(words) and words[0].startswith("ray::small")  # called by its task
            else:
                trains = parent != os.getpid() and "forkserver" in " ".join(words)
            found += [process] * trains
    return found


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def one_thread(run: Callable[[], object]) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run()
    finally:
        torch.set_num_threads(threads)


def test_a_run_that_is_killed_again_and_again_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = run_of(small_experiment(write_ave(tmp_path / "ave"), epochs=100_000), tmp_path / "run")
    killing = threading.Event()

    def kill_all() -> None:
        while not killing.wait(0.05):
            if epochs_of(run):
                kill(training_processes("local"))

    thread = threading.Thread(target=kill_all)
    thread.start()
    try:
        with open_engine("local", jobs=1) as engine:
            failed = train_all([Task(run)], engine)
    finally:
        killing.set()
        thread.join()
    assert "killed by signal 9" in failed[run.label]
    assert ATTEMPTS == 3 and len(epochs_of(run)) >= 1


def test_an_address_without_ray_is_refused():
    with pytest.raises(InputError, match="add --launcher ray"), open_engine("local", address="auto"):
        pass
