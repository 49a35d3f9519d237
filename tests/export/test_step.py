"""One segment of a stream by ONNX Runtime: what it says is what PyTorch says, from segment to segment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small import peer_experiment, settled_network, small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.export.stream import Stream
from snn_cace.model import build_network
from snn_cace.training.checkpoints import RunFiles, save_checkpoint

pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")

from snn_cace.export.step import OnnxStep

SPIKING = {
    "temporal_encoder": {"block": "spiking", "direction": "recurrent", "node": "alif"},
    "feed_forward": {"block": "spiking", "node": "ilif"},
    "interaction": {"block": "spiking", "node": "gated_lif", "membrane": "reset"},
    "event_head": {"block": "spiking", "node": "sliding_psn"},
    "visual_projection": {"block": "spiking", "coding": "learned"},
}
CONTROLS = {
    "temporal_encoder": {"block": "quantised", "membrane": "carry", "direction": "forward"},
    "feed_forward": {"block": "leaky", "membrane": "carry"},
    "interaction": {"block": "rectified"},
}


def causal(slots: dict[str, dict[str, object]], window: int = 4) -> Experiment:
    experiment = small_experiment(None, block="dense")
    experiment.model.causal, experiment.model.window, experiment.model.guidance = True, window, "co"
    experiment.model.encoder_layers, experiment.model.spiking.steps = 1, 3  # exports take seconds a layer and a step
    for name, overrides in slots.items():
        getattr(experiment.model.slots, name).clear()
        getattr(experiment.model.slots, name).update(overrides)
    return Experiment(experiment.name, experiment.data, experiment.model, experiment.training)


def avel() -> Experiment:
    experiment = peer_experiment(None, "avel", False, True)
    experiment.model.causal, experiment.model.window = True, 4
    return experiment


@pytest.mark.parametrize(
    "experiment", [causal(SPIKING), causal(CONTROLS, window=1), avel()], ids=["spiking", "controls", "avel"]
)
def test_every_segment_says_what_pytorch_says_of_it(experiment: Experiment):
    torch.manual_seed(0)
    network = build_network(experiment, FeatureShape(8, 6, 3))
    network(torch.randn(4, 10, 2, 3, 8), torch.randn(4, 10, 6))  # batch norms get statistics
    plain, exported = Stream(network.eval(), experiment), Stream(network, experiment, make_step=OnnxStep)
    visual, audio = torch.randn(7, 2, 3, 8), torch.randn(7, 6)
    for clip in range(2):  # the second starts from rest again
        for v, a in zip(visual + clip, audio, strict=True):
            wanted, found = plain.step(v, a), exported.step(v, a)
            assert (found.segment_class, found.spikes, found.steps) == (
                wanted.segment_class,
                wanted.spikes,
                wanted.steps,
            )
            assert found.confidence == pytest.approx(wanted.confidence, abs=1e-5)
            assert found.event_probability == pytest.approx(wanted.event_probability, abs=1e-5)
            np.testing.assert_allclose(found.class_probabilities, wanted.class_probabilities, atol=1e-5)
        plain.reset()
        exported.reset()


def test_the_verbs_run_it_with_early_exit_and_write_it(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = small_experiment(write_ave(tmp_path / "ave"), block="spiking")
    experiment.model.causal, experiment.model.window, experiment.model.spiking.steps = True, 4, 2
    experiment.model.encoder_layers = 1
    save_checkpoint(RunFiles(tmp_path / "run").best, settled_network(experiment), experiment)
    words = ["stream", "--checkpoint", str(tmp_path / "run"), "--clips", "1", "--confidence", "0.4", "--execution"]
    said = []
    for execution in ("dense", "onnx"):
        assert main([*words, execution]) == 0
        lines = capsys.readouterr().out.splitlines()
        said.append([[word for word in line.split() if not word.replace(".", "").isdigit()] for line in lines])
    assert said[0] == said[1]
    assert main([*words, "onnx", "--device", "cuda"]) == 2
    export = ["export", "--checkpoint", str(tmp_path / "run"), "--format", "onnx", "--output", str(tmp_path / "out")]
    assert main([*export, "--verify", "--clips", "1"]) == 0
    written = json.loads((tmp_path / "out" / "segment-certificate.json").read_text())
    assert written["segments"] == 10 and written["largest_difference"] < 1e-5
    import onnxruntime

    taken = onnxruntime.InferenceSession(str(tmp_path / "out" / "segment.onnx")).get_inputs()
    assert [one.name for one in taken[:3]] == ["visual", "audio", "kept_0"] and taken[0].shape == [1, 1, 2, 3, 8]
