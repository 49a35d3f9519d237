"""How processes end, who may write a directory, and that each which computes flushes denormal numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import examples
from small import small_experiment, write_ave, write_variants
from torch.utils.data import DataLoader, Dataset

from neurons.kernels.threads import shared_among_threads
from snn_cace.cli import main
from snn_cace.comparison.summary import read
from snn_cace.config import Experiment, as_yaml
from snn_cace.errors import InputError
from snn_cace.processes import flush_denormals, sole_writer, start_data_worker
from snn_cace.training.checkpoints import RunFiles

PATIENCE_SECONDS = 60.0
SPY = """
import os, sys
def ask(module, given, result):
    import numpy as np
    import torch
    from neurons.kernels.threads import shared_among_threads
    found = []
    def product(start, stop):
        # By NumPy: what counts operations would count PyTorch's.
        found.append(float((np.full(64, 1e-30, np.float32) * np.float32(1e-10)).max()))
    shared_among_threads(product, torch.get_num_threads(), 1)
    with open(os.environ["SPIED"], "a") as file:
        print(os.getpid(), max(found), file=file)
if "SPIED" in os.environ and "/bin/" not in sys.argv[0]:
    import torch
    torch.nn.modules.module.register_module_forward_hook(ask)
"""
"""A sitecustomize.py: after each module's forward pass, whether denormals are flushed in every thread here."""


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    write_ave(tmp_path / "ave")
    experiment = small_experiment(tmp_path / "ave", epochs=100_000)
    (tmp_path / "dense.yaml").write_text(as_yaml(experiment))
    path = tmp_path / "compare.yaml"
    path.write_text("name: small\nexperiments: [dense.yaml]\nseeds: [0, 1]\n")
    return path


def snn_cace(*words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "snn_cace", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(true: object, what: str) -> None:
    started = time.monotonic()
    while not true():  # type: ignore[operator]
        assert time.monotonic() - started < PATIENCE_SECONDS, what
        time.sleep(0.1)


def epochs_of(files: RunFiles) -> int:
    return len(read(files.history)) if files.history.is_file() else 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_comparison_that_is_ended_leaves_no_process_and_runs_that_go_on(
    comparison: Path, tmp_path: Path, number: int, code: int
):
    output = tmp_path / "out"
    runs = [RunFiles(output / "small-dense" / f"seed-{seed}") for seed in (0, 1)]
    process = snn_cace("compare", "--config", comparison, "--output", output, "--jobs", 2)
    until(lambda: all(epochs_of(run) >= 2 for run in runs), "both runs train")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3, "the fork server and two runs"
    second = snn_cace("compare", "--config", comparison, "--output", output)
    said = second.communicate(timeout=PATIENCE_SECONDS)[1].strip().splitlines()
    assert second.returncode == 2
    assert said == [f"snn-cace: {output} is being written by another process; wait for it, or give another --output"]

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


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_training_that_is_ended_keeps_its_epochs_and_goes_on(tmp_path: Path, number: int, code: int):
    write_ave(tmp_path / "ave")
    experiment = small_experiment(tmp_path / "ave", epochs=100_000)
    (tmp_path / "dense.yaml").write_text(as_yaml(experiment))
    files = RunFiles(tmp_path / "run")
    process = snn_cace("train", "--config", tmp_path / "dense.yaml", "--output", files.directory, "--quiet")
    until(lambda: epochs_of(files) >= 2, "it trains")
    second = snn_cace("train", "--resume", "--output", files.directory)
    assert "is being written by another process" in second.communicate(timeout=PATIENCE_SECONDS)[1]
    process.send_signal(number)
    process.wait(PATIENCE_SECONDS)
    assert process.returncode == code
    before = epochs_of(files)
    again = snn_cace("train", "--resume", "--output", files.directory, "--quiet")
    until(lambda: epochs_of(files) >= before + 2, "it goes on")
    again.kill()
    assert [epoch["epoch"] for epoch in read(files.history)] == list(range(epochs_of(files)))


def test_a_lock_goes_with_its_directory_if_nothing_was_written(tmp_path: Path):
    with sole_writer(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_process_that_computes_flushes_denormals(tmp_path: Path):
    write_variants(tmp_path, epochs=1)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SPY)
    (tmp_path / "compare.yaml").write_text("name: small\nexperiments: [dense.yaml, spiking.yaml]\nseeds: [0]\n")
    config, run = ("--config", tmp_path / "spiking.yaml"), tmp_path / "run"
    commands: dict[str, tuple[object, ...]] = {
        "train": ("train", *config, "--output", run),
        "ddp": ("train", *config, "--training.devices", 2, "--output", tmp_path / "ddp"),
        "evaluate": ("evaluate", "--checkpoint", run),
        "predict": ("predict", "--checkpoint", run, "--output", tmp_path / "predict"),
        "spikes": ("spikes", "--checkpoint", run, "--output", tmp_path / "spikes"),
        "convert": ("convert", "--checkpoint", tmp_path / "ann", "--output", tmp_path / "convert"),
        "compare": ("compare", "--config", tmp_path / "compare.yaml", "--output", tmp_path / "out", "--jobs", 2),
    }
    least = {"ddp": 2, "compare": 4}
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "2"}
    train_ann = [sys.executable, "-m", "snn_cace", "train", "--config", str(tmp_path / "dense.yaml")]
    subprocess.run([*train_ann, "--output", str(tmp_path / "ann")], check=True, capture_output=True)
    for name, words in commands.items():
        spied = tmp_path / f"{name}.txt"
        command = [sys.executable, "-m", "snn_cace", *map(str, words)]
        done = subprocess.run(
            command, env=environment | {"SPIED": str(spied)}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, (name, done.stderr[-2000:])
        lines = [line.split() for line in spied.read_text().splitlines()]
        assert {largest for _, largest in lines} == {"0.0"}, name
        assert len({pid for pid, _ in lines}) >= least.get(name, 1), name


class Asked(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((2,), 1e-30) * 1e-10


def test_data_workers_and_threads_flush_denormals():
    try:
        torch.set_flush_denormal(False)
        (batch,) = DataLoader(Asked(), batch_size=2, num_workers=1, worker_init_fn=start_data_worker)
        assert not batch.any()
        (batch,) = DataLoader(Asked(), batch_size=2)
        assert batch.all(), "this process does not flush yet"
        found: list[float] = []
        flush_denormals()
        shared_among_threads(lambda start, stop: found.append(float(torch.tensor(1e-30) * 1e-10)), 2, 1)
        assert set(found) == {0.0}
    finally:
        torch.set_flush_denormal(False)


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
