"""How processes end, who may write a directory, and that each which computes flushes denormal numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import examples
from small import small_experiment, write_ave, write_variants
from spy import SPY, spied, spying
from torch.utils.data import DataLoader, Dataset

from neurons.kernels.threads import shared_among_threads
from snn_cace.cli import main
from snn_cace.config import Experiment, as_yaml
from snn_cace.errors import InputError
from snn_cace.files import read_json
from snn_cace.processes import flush_denormals, sole_writer, start_data_worker
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.run import train

PATIENCE_SECONDS = 60.0


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    write_ave(tmp_path / "ave")
    experiment = small_experiment(tmp_path / "ave", epochs=100_000)
    (tmp_path / "dense.yaml").write_text(as_yaml(experiment))
    path = tmp_path / "compare.yaml"
    path.write_text("name: small\nexperiments: [dense.yaml]\nseeds: [0, 1]\n")
    return path


@contextmanager
def snn_cace(*words: object) -> Iterator[subprocess.Popen]:
    """A process of its own that hears Ctrl-C, even where this one was started not to."""
    command = [sys.executable, "-m", "snn_cace", *map(str, words)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, preexec_fn=hear_interrupts) as process:
        try:
            yield process
        finally:
            process.kill()


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def refused(capsys: pytest.CaptureFixture, *words: object) -> str:
    """The one line that a command of this process ends with."""
    assert main([*map(str, words)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def until(true: object, what: str) -> None:
    started = time.monotonic()
    while not true():  # type: ignore[operator]
        assert time.monotonic() - started < PATIENCE_SECONDS, what
        time.sleep(0.1)


def epochs_of(files: RunFiles) -> int:
    return len(read_json(files.history)) if files.history.is_file() else 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_comparison_that_is_ended_leaves_no_process_and_runs_that_go_on(
    comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture, number: int, code: int
):
    output = tmp_path / "out"
    runs = [RunFiles(output / "small-dense" / f"seed-{seed}") for seed in (0, 1)]
    with snn_cace("compare", "--config", comparison, "--output", output, "--jobs", 2) as process:
        until(lambda: all(epochs_of(run) >= 2 for run in runs), "both runs train")
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3, "the fork server and two runs"
        line = refused(capsys, "compare", "--config", comparison, "--output", output)
        assert line == f"snn-cace: {output} is being written by another process; wait for it, or give another --output"
        process.send_signal(number)
        process.wait(PATIENCE_SECONDS)
    assert process.returncode == code
    until(lambda: not any(alive(child) for child in family), "all end")
    finished = [epochs_of(run) for run in runs]
    time.sleep(1)
    assert finished == [epochs_of(run) for run in runs], "nobody writes any more"
    assert min(finished) >= 2
    for run in runs:
        epochs = len(torch.load(run.last, weights_only=True)["callbacks"]["LossHistory"]["epochs"])
        assert epochs in (epochs_of(run), epochs_of(run) - 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems' kernels do not end a process with its parent")
def test_a_fork_server_that_still_imports_is_ended_by_the_kernel(comparison: Path, tmp_path: Path):
    """Held still, it cannot see for itself that its parent has ended."""

    def fork_servers() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "forkserver" in " ".join(child.cmdline())]

    with snn_cace("compare", "--config", comparison, "--output", tmp_path / "out") as process:
        until(fork_servers, "it starts")
        (server,) = fork_servers()
        until(lambda: any("libtorch" in part.path for part in server.memory_maps()), "it imports")
        server.suspend()
        process.kill()
        process.wait(PATIENCE_SECONDS)
    try:
        until(lambda: not alive(server), "it ends")
    finally:
        if alive(server):
            server.kill()


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_training_that_is_ended_keeps_its_epochs_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture, number: int, code: int
):
    write_ave(tmp_path / "ave")
    experiment = small_experiment(tmp_path / "ave", epochs=100_000)
    (tmp_path / "dense.yaml").write_text(as_yaml(experiment))
    files = RunFiles(tmp_path / "run")
    with snn_cace("train", "--config", tmp_path / "dense.yaml", "--output", files.directory, "--quiet") as process:
        until(lambda: epochs_of(files) >= 2, "it trains")
        line = refused(capsys, "train", "--resume", "--output", files.directory)
        assert "is being written by another process" in line
        process.send_signal(number)
        process.wait(PATIENCE_SECONDS)
    assert process.returncode == code
    before = epochs_of(files)
    train(experiment, files.directory, resume=True, quiet=True, until=before + 2)
    assert [epoch["epoch"] for epoch in read_json(files.history)] == list(range(before + 2))


def test_a_lock_goes_with_its_directory_if_nothing_was_written(tmp_path: Path):
    with sole_writer(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_command_that_computes_flushes_denormals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_variants(tmp_path, epochs=1)
    spiking, run, ann = ("--config", tmp_path / "spiking.yaml"), tmp_path / "run", tmp_path / "ann"
    commands: list[tuple[object, ...]] = [
        ("train", "--config", tmp_path / "dense.yaml", "--output", ann, "--quiet"),
        ("train", *spiking, "--output", run, "--quiet"),
        ("evaluate", "--checkpoint", run, "--quiet"),
        ("predict", "--checkpoint", run, "--output", tmp_path / "predict", "--quiet"),
        ("spikes", "--checkpoint", run, "--output", tmp_path / "spikes", "--quiet"),
    ]
    namespace: dict[str, Any] = {}
    exec(SPY, namespace)
    hook = torch.nn.modules.module.register_module_forward_hook(namespace["ask"])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for number, words in enumerate(commands):
            flush_denormals(False)
            monkeypatch.setenv("SPIED", str(tmp_path / f"{number}.txt"))
            assert main([*map(str, words)]) == 0
            assert spied(tmp_path / f"{number}.txt") == ({"0.0"}, 1), words
    finally:
        hook.remove()
        flush_denormals(False)
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_every_process_of_a_comparison_flushes_denormals(tmp_path: Path):
    write_variants(tmp_path, epochs=1)
    (tmp_path / "compare.yaml").write_text("name: small\nexperiments: [spiking.yaml]\nseeds: [0, 1]\ncontrols: []\n")
    words = ["compare", "--config", tmp_path / "compare.yaml", "--output", tmp_path / "out", "--jobs", 2]
    command = [sys.executable, "-m", "snn_cace", *map(str, words)]
    done = subprocess.run(command, env=spying(tmp_path), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    largest, processes = spied(tmp_path / "spied.txt")
    assert largest == {"0.0"} and processes >= 4


class Asked(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((2,), 1e-30) * 1e-10


def test_data_workers_and_threads_flush_denormals():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.set_flush_denormal(False)
        (batch,) = DataLoader(Asked(), batch_size=2, num_workers=1, worker_init_fn=start_data_worker)
        assert not batch.any()
        (batch,) = DataLoader(Asked(), batch_size=2)
        assert batch.all(), "this process does not flush yet"
        found: list[float] = []
        flush_denormals()
        shared_among_threads(lambda start, stop: found.append(float(torch.tensor(1e-30) * 1e-10)), 2, 1)
        assert set(found) == {0.0} and len(found) == 2
    finally:
        flush_denormals(False)
        torch.set_num_threads(threads)


@examples(300)
@given(
    st.text() | st.sampled_from(["../../evil", "..", ".", "/tmp/evil", "a/b", "a\\b", "x" * 300, "CON\n", "é" * 150])
)
def test_a_mutated_name_stays_within_its_directory_or_is_refused(name: str):
    try:
        Experiment(name=name)
    except InputError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert len(refused.splitlines()) == 1
        return
    inside = Path("/out") / name / "seed-0"
    assert Path(os.path.normpath(inside)).parent.parent == Path("/out")
    assert len(os.fsencode(name)) <= 250


def test_a_config_whose_name_leaves_its_directory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "evil.yaml").write_text("name: ../../evil\n")
    assert main(["train", "--config", str(tmp_path / "evil.yaml"), "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "name '../../evil': it names a directory" in line
    (tmp_path / "compare.yaml").write_text("name: ../evil\nexperiments: [evil.yaml]\n")
    assert main(["compare", "--config", str(tmp_path / "compare.yaml")]) == 2
    assert "name '../evil'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compare.yaml", "evil.yaml"]
