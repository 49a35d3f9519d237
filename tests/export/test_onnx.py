"""ONNX files: ONNX Runtime says what PyTorch says, of any number of clips and segments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from small import CLASSES, SEGMENTS, peer_experiment, write_ave

from neurons import NODES, Node
from snn_cace.cli import main
from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.errors import InputError
from snn_cace.model import Network, build_network
from snn_cace.training.checkpoints import RunFiles, save_checkpoint

pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")

from snn_cace.export.onnx import check_onnx, write_onnx

OTHERS = ("visual_projection", "interaction", "event_head")


def small(
    network: str,
    block: str,
    causal: bool = False,
    direction: str = "forward",
    feed_forward: str | None = None,
    slots: tuple[str, ...] = (),
    **shared,
) -> Experiment:
    """feed_forward: the node of that slot, where it spikes; slots: others that do; `shared`: of model.spiking."""
    experiment = peer_experiment(None, network)
    experiment.model.causal, experiment.model.window = causal, 6
    experiment.model.encoder_layers, experiment.model.spiking.steps = 1, 2  # tracing takes seconds a layer and a step
    filled = experiment.model.slots
    filled.temporal_encoder = {"block": block, "direction": direction}
    for name in slots:
        getattr(experiment.model.slots, name)["block"] = "spiking"
    if feed_forward is not None:
        hidden = {"block": "spiking", "node": feed_forward, "learn_threshold": False}
        membrane = {"membrane": "reset"} if NODES[feed_forward].fixed_length else {}
        filled.feed_forward = hidden | membrane
    for key, value in shared.items():
        setattr(experiment.model.spiking, key, value)
    return Experiment(experiment.name, experiment.data, experiment.model, experiment.training)


def built(experiment: Experiment) -> Network:
    """On features as `write_ave` has them, its batch norms moved once."""
    torch.manual_seed(0)
    network = build_network(experiment, FeatureShape(visual_channels=8, audio_channels=6, classes=CLASSES))
    network.enhance = experiment.model.contrast.enabled
    network(torch.randn(4, SEGMENTS, 2, 3, 8), torch.randn(4, SEGMENTS, 6))
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [
        small("cace", "spiking", True, feed_forward="sliding_psn", slots=OTHERS, coding="latency", readout="membrane"),
        small("avel", "dense", causal=True, feed_forward="psn"),
        small("avel", "spiking", True, "recurrent", "gated_lif", node="plif", learn_threshold="channel"),
        small("avel", "spiking", direction="bidirectional", feed_forward="masked_psn", node="alif", reset="soft"),
        small("avel", "braincog", feed_forward="ilif", surrogate="quadratic_gate", learn_threshold="channel"),
        small("avel", "dense", feed_forward="if"),
    ],
    ids=["every-slot", "causal-psn", "plif-gated", "alif-masked", "braincog-ilif", "lstm-if"],
)
def test_onnx_runtime_says_what_pytorch_says_with_every_node(tmp_path: Path, experiment: Experiment):
    network = built(experiment)
    write_onnx(network, tmp_path / "network.onnx", torch.Size([10, 2, 3, 8]))
    clips = {"visual": torch.randn(3, 10, 2, 3, 8), "audio": torch.randn(3, 10, 6)}
    found = check_onnx(network, tmp_path / "network.onnx", clips, repeats=1)
    said = {"segment_relevance", "event_logits", "gate", "av_logits"} if experiment.model.network == "cace" else set()
    assert set(found["largest_differences"]) >= (said or {"segment_logits"})
    assert max(found["largest_differences"].values()) < 1e-5
    longer = {"visual": torch.randn(1, 23, 2, 3, 8), "audio": torch.randn(1, 23, 6)}
    assert max(check_onnx(network, tmp_path / "network.onnx", longer, 1)["largest_differences"].values()) < 1e-5


@dataclass(kw_only=True)
class Resonator(Node):
    """Two membranes that turn into each other."""

    name: ClassVar[str] = "resonator"
    states: ClassVar[tuple[str, ...]] = ("v", "w")

    def step(self, current, state, fire, leak=None):
        v, w = 0.8 * state[0] - 0.4 * state[1] + current, 0.4 * state[0] + 0.8 * state[1]
        return fire(v - self.threshold), (v, w)


def test_a_neuron_of_plain_operations_from_elsewhere_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    network = built(small("avel", "spiking", node=f"{Path(__file__).stem}:Resonator", learn_threshold=False))
    write_onnx(network, tmp_path / "network.onnx", torch.Size([10, 2, 3, 8]))
    clips = {"visual": torch.randn(3, 10, 2, 3, 8), "audio": torch.randn(3, 10, 6)}
    assert max(check_onnx(network, tmp_path / "network.onnx", clips, 1)["largest_differences"].values()) < 1e-5


def test_clips_of_one_segment_are_exported_as_such(tmp_path: Path):
    network = built(small("cace", "dense"))
    write_onnx(network, tmp_path / "network.onnx", torch.Size([1, 2, 3, 8]))
    clips = {"visual": torch.randn(3, 1, 2, 3, 8), "audio": torch.randn(3, 1, 6)}
    found = check_onnx(network, tmp_path / "network.onnx", clips, repeats=1)
    assert max(found["largest_differences"].values()) < 1e-5


def test_a_graph_of_one_number_of_clips_is_refused(tmp_path: Path):
    network = built(small("avel", "dense"))
    whole = network.forward
    network.forward = lambda visual, audio: whole(visual[: len(visual)], audio)  # len() is no symbol
    with pytest.raises(InputError, match=r"binds the exported network to clips and segments \[2, "):
        write_onnx(network, tmp_path / "network.onnx", torch.Size([10, 2, 3, 8]))
    assert not list(tmp_path.iterdir())


def test_the_verb_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = small("avel", "dense")
    experiment.data.directory = str(write_ave(tmp_path / "ave"))
    save_checkpoint(RunFiles(tmp_path / "run").best, built(experiment), experiment)
    words = ["export", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "onnx"]
    assert main([*words, "--verify"]) == 0
    assert "outputs differ by at most" in capsys.readouterr().out
    certificate = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert certificate["milliseconds_per_clip"].keys() == {"pytorch", "onnxruntime"}


def test_outputs_that_are_drawn_anew_are_not_held_against_others(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = small("avel", "spiking", coding="poisson")
    experiment.data.directory = str(write_ave(tmp_path / "ave"))
    save_checkpoint(RunFiles(tmp_path / "run").best, built(experiment), experiment)
    words = ["export", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "onnx"]
    assert main([*words, "--verify"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "model.slots.temporal_encoder: poisson coding draws anew at each run" in line and "--verify" in line
    assert not (tmp_path / "out").exists()
