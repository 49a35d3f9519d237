"""A neuron that the package does not know: this file's own, named in configs as `test_outside_node:Forgetful`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from small import small_experiment, write_ave

from neurons import Node, NodeCost
from snn_cace.cli import main
from snn_cace.config import Experiment, as_dict, as_yaml, from_dict, put_over
from snn_cace.errors import InputError

NAME = f"{Path(__file__).stem}:Forgetful"


@dataclass(kw_only=True)
class Forgetful(Node):
    """v <- keep v + x, and whether it fired at the step before."""

    name: ClassVar[str] = "forgetful"
    states: ClassVar[tuple[str, ...]] = ("v", "fired")
    keep: float = 0.5

    def step(self, current, state, fire, leak=None):
        v = self.keep * state[0] + current
        spikes = fire(v - self.threshold * (1 + state[1]))
        return spikes, (self.after_reset(v, spikes, self.threshold), spikes)

    def leak(self, learned=None):
        return self.keep, 1.0

    def cost(self, steps: int) -> NodeCost:
        return NodeCost(macs=1, acs=1, states=2)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_neuron_from_elsewhere_trains_is_counted_and_has_its_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    plain = as_dict(small_experiment(write_ave(tmp_path / "ave"), epochs=1, block="spiking"))
    own = {"model.spiking": {"node": NAME, "node_parameters": {"keep": 0.75}}}
    (tmp_path / "spiking.yaml").write_text(as_yaml(from_dict(put_over(plain, own), Experiment, "test")))
    study = "name: outside\nexperiments: [spiking.yaml]\ncontrols: [leaky, quantised]\nseeds: [0]\n"
    (tmp_path / "compare.yaml").write_text(study)
    assert main(["compare", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]) == 0
    variants = json.loads((tmp_path / "out" / "comparison.json").read_text())["variants"]
    assert [v["name"].removeprefix("small-spiking") for v in variants] == ["", "-leaky", "-quantised"]
    operations = variants[0]["counts"]["conservative"]["operations"]
    assert operations["state_reads"] == 2 * operations["neuron_updates"] > 0
    with pytest.raises(InputError, match=r"node_parameters: .*Forgetful has no 'kept', only keep"):
        from_dict(put_over(plain, own, {"model.spiking.node_parameters": {"kept": 1}}), Experiment, "test")
