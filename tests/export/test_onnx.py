"""ONNX files: ONNX Runtime says what PyTorch says, of any number of clips and segments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import settled_network, small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.config import Experiment
from snn_cace.training.checkpoints import RunFiles, save_checkpoint

pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")

from snn_cace.export.onnx import check_onnx, write_onnx


def small(block: str, *slots: str, causal: bool = False, direction: str = "forward", **shared: object) -> Experiment:
    experiment = small_experiment(None, block=block)
    experiment.model.causal, experiment.model.window = causal, 6
    experiment.model.encoder_layers = 1
    for name in slots:
        getattr(experiment.model.slots, name).block = "spiking"
    experiment.model.slots.temporal_encoder.direction = direction
    for key, value in shared.items():
        setattr(experiment.model.spiking, key, value)
    return Experiment(experiment.name, experiment.data, experiment.model, experiment.training)


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [
        small("dense"),
        small("spiking", "visual_projection", coding="latency", readout="membrane", causal=True),
        small("spiking", "interaction", direction="recurrent", node="plif", learn_threshold="channel", causal=True),
        small("spiking", "event_head", direction="bidirectional", node="alif", reset="soft"),
        small("braincog", "feed_forward", surrogate="quadratic_gate"),
    ],
    ids=["ann", "snn-latency", "snn-recurrent-plif", "snn-bidirectional-alif", "braincog"],
)
def test_onnx_runtime_says_what_pytorch_says(tmp_path: Path, experiment: Experiment):
    network = settled_network(experiment)
    write_onnx(network, tmp_path / "network.onnx", torch.Size([2, 3, 8]))
    clips = {"visual": torch.randn(3, 10, 2, 3, 8), "audio": torch.randn(3, 10, 6)}
    found = check_onnx(network, tmp_path / "network.onnx", clips, repeats=1)
    assert set(found["largest_differences"]) >= {"segment_relevance", "event_logits", "gate", "av_logits"}
    assert max(found["largest_differences"].values()) < 1e-5
    longer = {"visual": torch.randn(1, 23, 2, 3, 8), "audio": torch.randn(1, 23, 6)}
    assert max(check_onnx(network, tmp_path / "network.onnx", longer, 1)["largest_differences"].values()) < 1e-5


def test_the_verb_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = small_experiment(write_ave(tmp_path / "ave"))
    save_checkpoint(RunFiles(tmp_path / "run").best, settled_network(experiment), experiment)
    words = ["export", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "onnx"]
    assert main([*words, "--verify"]) == 0
    assert "outputs differ by at most" in capsys.readouterr().out
    certificate = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert certificate["milliseconds_per_clip"].keys() == {"pytorch", "onnxruntime"}
