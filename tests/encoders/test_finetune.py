"""Targeted fine-tuning: the loss by hand, going on after a break, and its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("av")
pytest.importorskip("efficientnet_lite_pytorch")

from media import write_video
from torch.nn import functional as F

from snn_cace.cli import main
from snn_cace.encoders.finetune import contrastive
from snn_cace.encoders.visual import visual_encoder

OPTIONS = "--epochs 2 --batch-size 4 --width 8 --learning-rate 0.5 --workers 0 --device cpu --quiet"


def test_the_loss_by_hand():
    generator = torch.Generator().manual_seed(0)
    pictures, sounds = (F.normalize(torch.randn(6, 4, generator=generator), dim=-1).double() for _ in range(2))
    similar = pictures @ sounds.T / 0.2
    by_hand = -(similar.log_softmax(1).diag() + similar.log_softmax(0).diag()).mean() / 2
    assert contrastive(pictures, sounds, 0.2).item() == pytest.approx(by_hand.item())


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("videos")
    for number in range(4):
        write_video(directory / f"{number}.mp4", (number, number + 4), size=(48, 64), rate=5, sample_rate=16000)
    lines = [f"{'bell' if number % 2 else 'horn'}&{number}&good&{number}&{number + 4}\n" for number in range(4)]
    (directory / "Annotations.txt").write_text("".join(lines))
    return directory


def words(videos: Path, output: Path, *more: str) -> list[str]:
    return ["finetune", str(videos), "--output", str(output), *OPTIONS.split(), *more]


@pytest.mark.slow
def test_a_break_changes_nothing_and_the_weights_are_extracted_by(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert main(words(videos, tmp_path / "one")) == 0
    tuned = torch.load(tmp_path / "one" / "encoder.pth", weights_only=True)
    before = visual_encoder().network.network.state_dict()
    assert max(float((tuned[n] - v).abs().max()) for n, v in before.items() if v.dtype.is_floating_point) > 1e-3
    command = [sys.executable, "-m", "snn_cace", *words(videos, tmp_path / "cut")]
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None and not (tmp_path / "cut" / "last.ckpt").is_file():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert main(words(videos, tmp_path / "cut", "--resume")) == 0
    for name, value in torch.load(tmp_path / "cut" / "encoder.pth", weights_only=True).items():
        assert torch.equal(value, tuned[name]), name
    assert main(words(videos, tmp_path / "one")) == 2
    assert main(words(videos, tmp_path / "one", "--resume", "--temperature", "0.5")) == 2
    assert "another temperature" in capsys.readouterr().err
    weights = ["--visual-weights", str(tmp_path / "one" / "encoder.pth")]
    (videos / "valSet.txt").write_text("bell&1&good&1&5\n")
    (videos / "testSet.txt").write_text("horn&2&good&2&6\n")
    (videos / "trainSet.txt").write_text("horn&0&good&0&4\nbell&3&good&3&7\n")
    extract = ["extract", str(videos), "--output", str(tmp_path / "ave"), "--frames", "1", "--quiet", *weights]
    assert main(extract) == 0


def test_too_few_clips_are_refused(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    command = [word if word != "4" else "8" for word in words(videos, tmp_path / "run")]
    assert main(command) == 2
    assert "4 clips with an event do not fit a batch_size of 8" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
