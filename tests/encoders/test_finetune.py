"""Targeted fine-tuning: the loss by hand, several processes as one, going on after a break, and its use."""

from __future__ import annotations

import json
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

OPTIONS = "--epochs 2 --batch-size 4 --width 8 --learning-rate 0.5 --workers 0 --device cpu --quiet"


def test_the_loss_by_hand_and_in_shares():
    """The mean over two processes of their shares is the loss of one process with all pairs."""
    generator = torch.Generator().manual_seed(0)
    pictures, sounds = (F.normalize(torch.randn(6, 4, generator=generator), dim=-1).double() for _ in range(2))
    similar = pictures @ sounds.T / 0.2
    by_hand = -(similar.log_softmax(1).diag() + similar.log_softmax(0).diag()).mean() / 2
    every = torch.stack([pictures, sounds])
    assert contrastive(pictures, sounds, every, 0, 0.2).item() == pytest.approx(by_hand.item())
    shares = [contrastive(pictures[k : k + 3], sounds[k : k + 3], every, k, 0.2) for k in (0, 3)]
    assert torch.stack(shares).mean().item() == pytest.approx(by_hand.item())


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


def losses(output: Path) -> list[float]:
    return [epoch["train/loss"] for epoch in json.loads((output / "history.json").read_text())]


@pytest.mark.slow
def test_two_processes_tune_as_one_does_and_a_break_changes_nothing(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert main(words(videos, tmp_path / "one")) == 0
    command = [sys.executable, "-m", "snn_cace"]
    subprocess.run([*command, *words(videos, tmp_path / "two", "--devices", "2")], check=True, capture_output=True)
    states = [torch.load(tmp_path / name / "encoder.pth", weights_only=True) for name in ("one", "two")]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    changed = max(
        float((states[0][n] - v).abs().max()) for n, v in start(tmp_path).items() if v.dtype.is_floating_point
    )
    assert changed > 1e-3
    for name, value in states[0].items():  # to a thousandth of how far training moved any weight
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=1e-3 * changed, msg=name)
    process = subprocess.Popen([*command, *words(videos, tmp_path / "cut")], start_new_session=True)
    while process.poll() is None and not (tmp_path / "cut" / "last.ckpt").is_file():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert main(words(videos, tmp_path / "cut", "--resume")) == 0
    for name, value in torch.load(tmp_path / "cut" / "encoder.pth", weights_only=True).items():
        assert torch.equal(value, states[0][name]), name
    assert main(words(videos, tmp_path / "one")) == 2
    assert main(words(videos, tmp_path / "one", "--resume", "--temperature", "0.5")) == 2
    assert "another temperature" in capsys.readouterr().err
    weights = ["--visual-weights", str(tmp_path / "one" / "encoder.pth")]
    (videos / "valSet.txt").write_text("bell&1&good&1&5\n")
    (videos / "testSet.txt").write_text("horn&2&good&2&6\n")
    (videos / "trainSet.txt").write_text("horn&0&good&0&4\nbell&3&good&3&7\n")
    extract = ["extract", str(videos), "--output", str(tmp_path / "ave"), "--frames", "1", "--quiet", *weights]
    assert main(extract) == 0


def start(directory: Path) -> dict[str, torch.Tensor]:
    from snn_cace.encoders.visual import visual_encoder

    return visual_encoder().network.network.state_dict()


def test_too_few_clips_are_refused(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    command = [word if word != "4" else "8" for word in words(videos, tmp_path / "run")]
    assert main(command) == 2
    assert "4 clips with an event and 1 devices do not fit a batch_size of 8" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
