"""A neuron that the package does not know: this file's own, named in configs as `test_outside_node:Forgetful`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from small import small_experiment, write_ave

from neurons import BlockConfig, Node, NodeCost
from snn_cace.cli import main
from snn_cace.config import Experiment, as_dict, as_yaml, from_dict, put_over, read_config
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


class Noisy(Forgetful):
    name = "noisy"

    def step(self, current, state, fire, leak=None):
        return super().step(current + torch.randn_like(current), state, fire)


FAULTY = """
from dataclasses import dataclass
from neurons import Node

class NoEquation(Node):
    name = "no-equation"

class NoName(Node):
    def step(self, current, state, fire, leak=None):
        return fire(current - self.threshold), state

class FewStates(NoName):
    name = "few-states"
    def step(self, current, state, fire, leak=None):
        v, u = state
        return fire(v), (v, u)

class NoTuple(NoName):
    name = "no-tuple"
    states = ("v", "u")
    def step(self, current, state, fire, leak=None):
        return fire(current), current

class OneNumber(NoName):
    name = "one-number"
    def step(self, current, state, fire, leak=None):
        return fire(current), (current.mean(),)

class NoMembrane(OneNumber):
    states = ("voltage",)

@dataclass(kw_only=True)
class NoDefault(NoName):
    name = "no-default"
    keep: float
"""
FAULTS = {
    "NoEquation": "has no equation; write step(self, current, state, fire, leak=None)",
    "NoName": "has no name; give the class one: name = 'noname'",
    "FewStates": ": step fails with states ('v',): not enough values to unpack (expected 2, got 1); "
    "list in states all that step unpacks",
    "NoTuple": ": step must return spikes, (v, u), each a tensor of the current's shape",
    "OneNumber": ": step must return spikes, (v,), each a tensor of the current's shape",
    "NoMembrane": " has states ('voltage',); call the first, the membrane, 'v'",
    "NoDefault": "missing 1 required keyword-only argument: 'keep'; see node_parameters",
}


@pytest.mark.parametrize("where", ["model.spiking", "model.slots.temporal_encoder"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_neuron_is_refused_in_one_line_before_anything_is_written(
    name: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faulty", raising=False)
    (tmp_path / "faulty.py").write_text(FAULTY)
    (tmp_path / "x.yaml").write_text(f"model.slots.temporal_encoder.block: spiking\n{where}.node: faulty:{name}\n")
    assert main(["train", "--config", str(tmp_path / "x.yaml"), "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and f"faulty:{name}" in said[0] and said[0].endswith(FAULTS[name])
    assert not (tmp_path / "run").exists()


def test_trying_a_neuron_draws_no_random_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    before = torch.get_rng_state()
    BlockConfig(NAME.replace("Forgetful", "Noisy"))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_module_that_is_not_found_is_looked_for_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not so one that is found and misses another."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "misses.py").write_text("import absent_library")
    with pytest.raises(
        ValueError, match=r"'nowhere'; run where nowhere.own lies, or name that directory in PYTHONPATH"
    ):
        BlockConfig("nowhere.own:Neuron")
    with pytest.raises(ValueError, match=r"node: misses:Neuron cannot be imported: No module named 'absent_library'$"):
        BlockConfig("misses:Neuron")


def test_another_node_drops_the_parameters_of_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Named in a file over its base, in a slot over the defaults, or in an option; the same node again keeps them."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    spiking = {"node": NAME, "node_parameters": {"keep": 0.75}}
    (tmp_path / "own.yaml").write_text(f"model.spiking: {spiking}\nmodel.slots.feed_forward.block: spiking\n")
    (tmp_path / "back.yaml").write_text("base: own.yaml\nmodel.spiking.node: lif\n")
    assert read_config(tmp_path / "back.yaml", Experiment).model.spiking == BlockConfig()

    def node_parameters(**changes: object) -> dict[str, float]:
        model = read_config(tmp_path / "own.yaml", Experiment, {"model": changes}).model
        return model.slots.slot("feed_forward").spiking(model.spiking).node_parameters

    assert node_parameters(spiking={"node": "lif"}) == node_parameters(slots={"feed_forward": {"node": "lif"}}) == {}
    assert node_parameters(spiking={"node": NAME}) == {"keep": 0.75}
    assert node_parameters(slots={"feed_forward": {"node": NAME}}) == {"keep": 0.75}
    noisy = {"node": NAME.replace("Forgetful", "Noisy"), "node_parameters": {"keep": 0.25}}
    assert node_parameters(spiking=noisy) == node_parameters(slots={"feed_forward": noisy}) == {"keep": 0.25}
    with pytest.raises(InputError, match=r"node_parameters: lif takes none; leave keep out"):
        node_parameters(spiking={"node": "lif", "node_parameters": {"keep": 1}})


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
    with pytest.raises(InputError, match=r"node_parameters: .*Forgetful takes keep; leave kept out"):
        from_dict(put_over(plain, own, {"model.spiking.node_parameters": {"kept": 1}}), Experiment, "test")
