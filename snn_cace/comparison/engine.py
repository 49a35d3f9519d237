"""Where training runs run: processes of this machine, or a Ray cluster; several at a time, each in its own directory.

Whatever ends a run, its finished epochs stay in its directory, and training goes on from there: at once where the
machine ended it (up to `ATTEMPTS` times), else when the same command is given again.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, Protocol

from snn_cace.comparison.plan import Run
from snn_cace.config import as_yaml
from snn_cace.errors import InputError, explained
from snn_cace.files import read_json, write_text
from snn_cace.processes import end_by_kernel, start_worker, workers
from snn_cace.provenance import usable_cores

POLL_SECONDS = 2.0
ATTEMPTS = 3
"""How often a run is started whose process was killed, by the system for memory or with its node."""
Launcher = Literal["local", "ray"]
PATIENT = {"_system_config": {"health_check_timeout_ms": 60_000, "health_check_failure_threshold": 20}}
"""Ray takes a node for dead that does not answer for a while, as one whose cores all train may."""


@dataclass
class Task:
    """A run to train. until: the epoch after which it waits, unfinished; test: whether the test split is read."""

    run: Run
    until: int | None = None
    test: bool = True

    @property
    def log(self) -> Path:
        """What it prints, beside its directory."""
        directory = self.run.files.directory
        return directory.parent / f"{directory.name}.log"


class Engine(Protocol):
    """Where tasks run. slots: how many at a time. What has been started is known by what `start` returns."""

    slots: int

    def start(self, task: Task) -> Any: ...

    def ended(self, started: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Those that have ended; waits until one has, or so long."""

    def failure(self, task: Task, ended: Any) -> str | None:
        """Why it ended without doing its task, if so; in one line."""

    def killed(self, ended: Any) -> bool:
        """Whether the machine ended it, so that it may go on."""

    def end(self, started: Any) -> None: ...


def default_jobs() -> int:
    """One run per core, so that small networks do not wait on threads; one at a time where there is a GPU."""
    import torch

    return 1 if torch.cuda.is_available() else usable_cores()


@contextmanager
def open_engine(launcher: Launcher = "local", jobs: int | None = None, address: str | None = None) -> Iterator[Engine]:
    """An engine by name. jobs: runs at a time. address: of a Ray cluster; one on this machine where it is left out.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    if launcher == "local":
        if address is not None:
            raise InputError("--address is a Ray cluster's; add --launcher ray")
        yield LocalEngine(jobs or default_jobs())
        return
    with ray_cluster(address) as ray:
        yield RayEngine(ray, jobs)


def train_all(tasks: Sequence[Task], engine: Engine) -> dict[str, str]:
    """Do every task; returns by label why those failed that did. No process is left when this returns or raises."""
    waiting, failed = list(tasks), dict[str, str]()
    attempts = dict.fromkeys((task.run.label for task in tasks), 0)
    shown = dict.fromkeys(attempts, 0)
    running: dict[Any, Task] = {}
    try:
        while waiting or running:
            while waiting and len(running) < engine.slots:
                task = waiting.pop(0)
                attempts[task.run.label] += 1
                task.log.parent.mkdir(parents=True, exist_ok=True)
                running[engine.start(task)] = task
            ended = engine.ended([*running], POLL_SECONDS)
            for task in running.values():
                shown[task.run.label] = show_epochs(task.run, shown[task.run.label])
            for training in ended:
                task = running.pop(training)
                run, reason = task.run, engine.failure(task, training)
                if reason and engine.killed(training) and attempts[run.label] < ATTEMPTS:
                    print(f"  {run.label}: {reason}; going on from its last epoch", flush=True)
                    waiting.insert(0, task)
                elif reason:
                    failed[run.label] = f"{run.label} failed: {reason} (all of it: {task.log})"
                    print(f"  {failed[run.label]}", flush=True)
                elif task.test:
                    accuracy = read_json(run.files.metrics)["test"]["segment_accuracy"]
                    print(f"  {run.label}: finished, test segment accuracy {accuracy:.2f} %", flush=True)
    finally:
        for training in running:
            engine.end(training)
    return failed


def show_epochs(run: Run, shown: int) -> int:
    """Print the last epoch that the run's history has gained; returns how many it has."""
    history = read_json(run.files.history) if run.files.history.is_file() else []
    if len(history) > shown:
        accuracy = history[-1].get("val/segment_accuracy", float("nan"))
        epochs = run.experiment.training.epochs
        print(f"  {run.label}: epoch {len(history)}/{epochs}, val segment accuracy {accuracy:.2f} %", flush=True)
    return max(shown, len(history))


class LocalEngine:
    """Processes of this machine, which share its cores among them."""

    def __init__(self, slots: int) -> None:
        self.slots, self.threads = slots, max(1, usable_cores() // slots)

    def start(self, task: Task) -> BaseProcess:
        target = train_here if task.run.experiment.training.devices == 1 else train_by_command
        process = workers().Process(target=target, args=(task, self.threads))
        process.start()
        return process

    def ended(self, started: Sequence[BaseProcess], seconds: float) -> list[BaseProcess]:
        wait([process.sentinel for process in started], seconds)
        return [process for process in started if not process.is_alive()]

    def failure(self, task: Task, ended: BaseProcess) -> str | None:
        if not ended.exitcode:
            return None
        if self.killed(ended):
            return f"its process was killed by signal {-ended.exitcode}"
        return last_line(task.log) or f"exit code {ended.exitcode}"

    def killed(self, ended: BaseProcess) -> bool:
        return (ended.exitcode or 0) < 0

    def end(self, started: BaseProcess) -> None:
        started.kill()
        started.join()


def last_line(log: Path) -> str | None:
    said = [line for line in log.read_text().splitlines() if line.strip()] if log.is_file() else []
    return said[-1].removeprefix("snn-cace: ") if said else None


@contextmanager
def printing_into(log: Path) -> Iterator[None]:
    """All that this process prints meanwhile, of whatever library, goes to `log`."""
    kept = [os.dup(stream) for stream in (1, 2)]
    with log.open("w") as printed:
        for stream in (1, 2):
            os.dup2(printed.fileno(), stream)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, before in zip((1, 2), kept, strict=True):
                os.dup2(before, stream)
                os.close(before)


def train_here(task: Task, threads: int) -> None:
    """Do a task in a process of `workers()`; exit code 1 where it failed, and why is the log's last line."""
    start_worker(threads)
    sys.exit(1 if train_logged(task) else 0)


def train_logged(task: Task) -> str | None:
    """Do a task in this process, all that is printed into its log; why it failed, in the log's last line, if it did."""
    from snn_cace.training.run import train

    files = task.run.files
    resume = files.config.is_file()
    with printing_into(task.log):
        try:
            train(task.run.experiment, files.directory, resume, quiet=True, until=task.until, test=task.test)
        except Exception as error:
            line = explained(error) or f"{type(error).__name__}: {error}"
            if not isinstance(error, InputError):
                traceback.print_exc()
            print(" ".join(line.split()), file=sys.stderr)
            return " ".join(line.split())
    return None


def train_by_command(task: Task, threads: int) -> None:
    """Train a run on several devices: Lightning starts one process for each by the command line that it finds."""
    command = command_of(task)
    with task.log.open("w") as printed:
        for stream in (1, 2):
            os.dup2(printed.fileno(), stream)
    end_by_kernel()
    os.execve(sys.executable, command, os.environ | {"OMP_NUM_THREADS": str(threads)})


def command_of(task: Task) -> list[str]:
    """The command line that trains a run, or goes on with it."""
    run = task.run
    command = [sys.executable, "-m", "snn_cace", "train", "--quiet", "--output", str(run.files.directory)]
    if run.files.config.is_file():
        command.append("--resume")
    else:
        config = task.log.with_suffix(".yaml")
        write_text(config, as_yaml(run.experiment))
        command += ["--config", str(config)]
    return command


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Any]:
    """The module `ray`, joined to the cluster at `address`, or to one of this machine's cores that ends with it."""
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise InputError(f"--launcher ray needs {missing.name}: install snn-cace[ray]") from None
    here: dict[str, Any] = {} if address else {"num_cpus": usable_cores(), "include_dashboard": False, **PATIENT}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    except Exception as error:  # Ray raises whatever its transport does
        where = f"no Ray cluster at {address}" if address else "Ray does not start on this machine"
        raise InputError(f"{where}: {' '.join(str(error).split())[:120]}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


class RayEngine:
    """A Ray cluster, whose nodes share the output directory; a run takes a core, and a GPU where nodes have them."""

    def __init__(self, ray: Any, jobs: int | None) -> None:
        self.ray = ray
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        self.slots = jobs or gpus or max(1, int(resources.get("CPU", 1)))
        # Ray itself starts a task again whose worker or node is gone.
        self.train = ray.remote(max_retries=ATTEMPTS - 1)(train_on_worker)
        self.unit = "num_gpus" if gpus else "num_cpus"

    def start(self, task: Task) -> Any:
        needs = {"num_cpus": 1, self.unit: task.run.experiment.training.devices}
        return self.train.options(name=task.run.label, **needs).remote(task, str(Path.cwd()))

    def ended(self, started: Sequence[Any], seconds: float) -> list[Any]:
        return self.ray.wait(started, timeout=seconds)[0]

    def failure(self, task: Task, ended: Any) -> str | None:
        try:
            return self.ray.get(ended)
        except self.ray.exceptions.RayError as error:
            return " ".join(str(error).split())[:200]

    def killed(self, ended: Any) -> bool:
        return False  # Ray has gone on with it as often as it may

    def end(self, started: Any) -> None:
        self.ray.cancel(started, force=True)


def train_on_worker(task: Task, directory: str) -> str | None:
    """Do a task in a Ray worker, in the directory that paths are relative to; why it failed, if it did."""
    os.chdir(directory)
    end_by_kernel()
    if task.run.experiment.training.devices == 1:
        return train_logged(task)
    with task.log.open("w") as log:
        done = subprocess.run(command_of(task), stdout=log, stderr=log, check=False)
    return last_line(task.log) or f"exit code {done.returncode}" if done.returncode else None
