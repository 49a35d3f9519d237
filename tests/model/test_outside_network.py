"""A network that the package does not know: this file's own, named in configs as `test_outside_network:Outside`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import peer_experiment, write_ave
from torch import nn

from snn_cace.cli import main
from snn_cace.config import Experiment, ModelConfig, as_dict, as_yaml, from_dict, put_over
from snn_cace.contracts import ClipOutput, FeatureShape
from snn_cace.errors import InputError
from snn_cace.model import Network
from snn_cace.model.blocks import temporal_encoders
from snn_cace.networks import NetworkSpec

NAME = f"{Path(__file__).stem}:Outside"


class OutsideNet(Network):
    """The sound alone: one temporal encoder, and classifiers of segments and of their mean."""

    def __init__(self, model: ModelConfig, shape: FeatureShape, weak: bool) -> None:
        super().__init__(shape, weak)
        (self.encoder,) = temporal_encoders(model, (shape.audio_channels, model.d_model))
        self.relevance, self.event = nn.Linear(model.d_model, 1), nn.Linear(model.d_model, shape.classes)

    def forward(self, visual: torch.Tensor, audio: torch.Tensor) -> ClipOutput:
        encoded = self.encoder(audio)
        return ClipOutput(self.relevance(encoded).squeeze(-1), self.event(encoded.mean(1)))


class Outside(NetworkSpec):
    modules = f"{__name__}:OutsideNet"

    def slots(self, model: ModelConfig, weak: bool) -> list[str]:
        return ["temporal_encoder"]


@pytest.mark.usefixtures("undrawn")
def test_a_network_from_elsewhere_trains_and_is_compared_in_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    plain = put_over(as_dict(peer_experiment(write_ave(tmp_path / "ave"), "cmran")), {"model.network": NAME})
    for block in ("dense", "spiking"):
        own = {"name": block, "training.epochs": 1, "model.slots.temporal_encoder.block": block}
        (tmp_path / f"{block}.yaml").write_text(as_yaml(from_dict(put_over(plain, own), Experiment, "test")))
    (tmp_path / "compare.yaml").write_text("name: outside\nexperiments: [dense.yaml, spiking.yaml]\nseeds: [0]\n")
    assert main(["compare", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]) == 0
    assert "Outside" in (tmp_path / "out" / "report.html").read_text()
    for slot in ("interaction", "feed_forward"):
        with pytest.raises(InputError, match=f"{slot}: {NAME} has no such slot; it has temporal_encoder"):
            from_dict(put_over(plain, {f"model.slots.{slot}.block": "spiking"}), Experiment, "test")
