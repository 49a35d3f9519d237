"""A disk that fills up while runs train: one line each, finished epochs kept, the same numbers once there is room."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small import small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.config import as_yaml
from snn_cace.training.checkpoints import RunFiles, load_checkpoint
from snn_cace.training.module import EventLocaliser
from snn_cace.training.run import train

FILE_SYSTEM_PAGE = 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system of a size of its own cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, left: int) -> None:
    """Leave so many pages free."""
    (place / "filler").write_bytes(bytes(shutil.disk_usage(place).free - left * FILE_SYSTEM_PAGE))


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")  # a traceback on standard error
@pytest.mark.parametrize("left", [0, 20], ids=["nothing fits", "a checkpoint fits in part"])
def test_a_disk_that_fills_up_takes_no_finished_epoch(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, left: int
):
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=4, block="spiking")
    whole = train(experiment, tmp_path / "whole", quiet=True)
    (tmp_path / "config.yaml").write_text(as_yaml(experiment))
    original = EventLocaliser.on_train_epoch_start

    def start(module: EventLocaliser) -> None:
        original(module)
        if module.current_epoch == 2:
            fill(small_disk, left)

    words = ["train", "--quiet", "--config", str(tmp_path / "config.yaml"), "--output", str(small_disk / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(EventLocaliser, "on_train_epoch_start", start)
        assert main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("snn-cace: no space left on the disk") and len(said) == 1

    files = RunFiles(small_disk / "run")
    assert load_checkpoint(files.best).experiment == experiment
    assert torch.load(files.last, weights_only=True)["epoch"] == 1
    assert not [path for path in files.directory.rglob(".*") if path.name != ".lock"]
    (small_disk / "filler").unlink()
    assert main([*words, "--resume"]) == 0
    for part in ("best_epoch", "val", "test", "activity"):
        assert json.loads(files.metrics.read_text())[part] == whole[part]
    assert files.history.read_text() == RunFiles(tmp_path / "whole").history.read_text()
