"""NIR files: each spiking block fires elsewhere what it fires in the network, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.model import CaceNet
from snn_cace.training.checkpoints import RunFiles, Trained, save_checkpoint

nir = pytest.importorskip("nir", reason="the extra [export] is not installed")

from snn_cace.export.certificate import BlockCertificate, certify  # noqa: E402
from snn_cace.export.nir import TARGETS, blocks_of, write_nir  # noqa: E402

SHAPE = FeatureShape(visual_channels=8, audio_channels=6, classes=3)
SLOTS = ("visual_projection", "feed_forward", "interaction", "event_head")


def trained(
    directory: Path | None = None, direction: str = "forward", block: str = "spiking", **shared: object
) -> Trained:
    """A network whose batch norms and thresholds are away from where they start."""
    experiment = small_experiment(directory, block=block)
    for name in SLOTS:
        getattr(experiment.model.slots, name)["block"] = "spiking"
    experiment.model.slots.temporal_encoder["direction"] = direction
    for key, value in shared.items():
        setattr(experiment.model.spiking, key, value)
    experiment = Experiment(experiment.name, experiment.data, experiment.model, experiment.training)
    torch.manual_seed(0)
    network = CaceNet(experiment.model, SHAPE)
    for _ in range(3):
        network(2 * torch.randn(4, 10, 2, 3, 8) + 1, torch.randn(4, 10, 6))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("log_threshold_gain", "node.w")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return Trained(network.eval(), experiment, Path("here"))


def certificates(given: Trained, directory: Path, simulator: str) -> dict[str, BlockCertificate]:
    generator = torch.Generator().manual_seed(3)
    visual = 2 * torch.randn(3, 10, 2, 3, 8, generator=generator) + 1
    clips = {"visual": visual, "audio": torch.randn(3, 10, 6, generator=generator)}
    blocks = write_nir(given, directory, simulator)
    found = certify(given.network, blocks, directory, simulator, TARGETS[simulator].dt, clips)
    return {block["block"]: BlockCertificate(**block) for block in found["blocks"]}


@pytest.mark.parametrize("simulator", TARGETS)
@pytest.mark.parametrize(
    "shared",
    [
        {},
        {"node": "if"},
        {"node": "plif", "membrane": "reset"},
        {"tau": 3.0, "learn_threshold": "channel"},
        {"coding": "latency", "norm": "layer"},
        {"norm": "layer", "learn_threshold": "channel"},
        {"coding": "integer", "readout": "membrane", "learn_threshold": True},
    ],
    ids=lambda shared: "-".join(map(str, shared.values())) or "lif",
)
def test_every_block_fires_elsewhere_as_in_the_network(tmp_path: Path, simulator: str, shared: dict):
    pytest.importorskip(simulator)
    found = certificates(trained(**shared), tmp_path, simulator)
    assert len(found) == 2 + len(("v", "v", "a", "a", "vc", "ac")) + 6 + 1 + 1
    assert sum(block.spikes for block in found.values()) > 500
    for name, block in found.items():
        assert block.verdict in ("spike-exact", "bounded drift"), (name, block)
        assert block.float32 >= 0.999 and (block.float64 == 1 or "keeps constants in float32" in block.cause), block


@pytest.mark.parametrize("simulator", TARGETS)
def test_the_originals_encoder_and_both_directions(tmp_path: Path, simulator: str):
    pytest.importorskip(simulator)
    braincog = certificates(
        trained(block="braincog", surrogate="quadratic_gate", learn_threshold="channel"), tmp_path / "a", simulator
    )
    both = certificates(trained(direction="bidirectional", norm="layer"), tmp_path / "b", simulator)
    assert {"audio_temporal", "visual_temporal"} < braincog.keys()
    assert {"audio_temporal.projection", "audio_temporal.projection.reverse"} < both.keys()
    assert all(block.verdict == "spike-exact" for block in (*braincog.values(), *both.values()))


@pytest.mark.parametrize(
    ("shared", "reason"),
    [
        ({"node": "alif"}, "NIR has no alif neuron"),
        ({"node": "psn", "membrane": "reset"}, "NIR has no psn neuron"),
        ({"reset": "soft"}, "it cannot say that the threshold is subtracted"),
        ({"direction": "recurrent"}, "importers disagree on that step"),
    ],
    ids=["alif", "psn", "soft", "recurrent"],
)
def test_what_nir_cannot_say_is_refused_by_name(tmp_path: Path, shared: dict, reason: str):
    blocks = blocks_of(trained(**shared).network)
    refused = [block for block in blocks if block.refused]
    assert refused and all(reason in block.refused for block in refused)
    assert {block.slot for block in refused} >= {"temporal_encoder"}


def test_the_verb_writes_files_boundaries_and_certificates(tmp_path: Path, capsys: pytest.CaptureFixture):
    given = trained(write_ave(tmp_path / "ave"))
    save_checkpoint(RunFiles(tmp_path / "run").best, given.network, given.experiment)
    words = ["export", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "nir"]
    assert main([*words, "--target", "spikingjelly", "--verify", "--clips", "2"]) == 0
    assert "spike-exact" in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "spikingjelly" / "export.json").read_text())
    files = {block["file"] for block in written["blocks"]} | set(written["readers"])
    assert {path.name for path in (tmp_path / "out" / "spikingjelly").glob("*.nir")} == files
    assert "guidance" in written["boundaries"] and written["dt"] == 1e-4
    graph = nir.read(tmp_path / "out" / "spikingjelly" / "audio_temporal.projection.nir")
    assert list(graph.nodes) == ["affine", "input", "neurons", "output"]
    certificate = json.loads((tmp_path / "out" / "spikingjelly" / "certificate.json").read_text())
    assert certificate["version"] and len(certificate["blocks"]) == len(written["blocks"])
    assert main([*words]) == 2
    assert "is not empty; give a fresh --output" in capsys.readouterr().err


@pytest.mark.parametrize("others", [True, False])
def test_refusals_are_told_once_and_nothing_is_written_without_a_block(
    tmp_path: Path, capsys: pytest.CaptureFixture, others: bool
):
    """others: whether there is a block beside the two of the temporal encoder, which NIR cannot say."""
    told = 2 if others else 0
    experiment = small_experiment(write_ave(tmp_path / "ave"))
    experiment.model.slots.temporal_encoder = {"block": "spiking", "node": "alif"}
    if others:
        experiment.model.slots.event_head["block"] = "spiking"
    save_checkpoint(RunFiles(tmp_path / "run").best, CaceNet(experiment.model, SHAPE), experiment)
    words = ["export", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "nir"]
    assert main(words) == (0 if told else 2)
    printed = capsys.readouterr()
    assert printed.out.count("refused: NIR has no alif neuron") == told
    assert (tmp_path / "out").exists() == bool(told)
    if not told:
        (line,) = printed.err.strip().splitlines()
        assert line.endswith("no block can be exported: NIR has no alif neuron; use --format onnx")


def test_an_ann_has_no_block_to_write(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = small_experiment(write_ave(tmp_path / "ave"))
    save_checkpoint(RunFiles(tmp_path / "run").best, CaceNet(experiment.model, SHAPE), experiment)
    words = ["export", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--format", "nir"]
    assert main(words) == 2
    assert "has no spiking slot: NIR holds spiking blocks; use --format onnx" in capsys.readouterr().err
