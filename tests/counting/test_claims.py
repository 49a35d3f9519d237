"""Claims that are right, and each mistake by the number that it gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from snn_cace import counting
from snn_cace.cli import main
from snn_cace.config import read_config
from snn_cace.counting.claims import Accuracy, Baseline, Claims, check_claims
from snn_cace.errors import InputError
from snn_cace.report.audit import operation_table

STEPS, RATE = 4, 0.25


def audited() -> dict:
    """Four steps of a layer of values, neurons that each fire once in them, and a layer of spikes."""
    network = nn.Sequential(nn.Linear(8, 40, bias=False), neuron.IFNode(v_threshold=4.0), nn.Linear(40, 10))
    network[0].weight.data.fill_(1 / 8)
    functional.set_step_mode(network, "m")
    return counting.audit(network, torch.ones(STEPS, 1, 8), batch_dim=1).as_json()


AUDIT = audited()
FIRST, ADDITIONS = STEPS * 8 * 40, 40 * 10  # MACs of the first layer; one spike of each neuron reaches ten
TRUE = Claims(
    simulation_steps=STEPS,
    firing_rate=RATE,
    macs=FIRST,
    acs=ADDITIONS,
    energy_mj=AUDIT["counts"]["event_driven"]["energy_mj"]["memory"],
    energy_model="memory",
)


def test_what_is_true_holds():
    assert AUDIT["firing_rate"] == RATE
    assert AUDIT["counts"]["event_driven"]["operations"]["synops"] == ADDITIONS
    assert check_claims(TRUE, AUDIT) == []


def test_a_firing_rate_of_a_network_that_never_fires_does_not_hold():
    silent = AUDIT | {"firing_rate": None}
    assert "firing rate: 25 % claimed, but nothing fires here" in check_claims(TRUE, silent)


@pytest.mark.parametrize(
    ("wrong", "finding"),
    [
        ({"acs": RATE * ADDITIONS * 1.0001}, "ACs: 100 claimed, 560 counted, 400 of them SynOps: steps forgotten"),
        ({"acs": ADDITIONS + FIRST}, "ACs: 1.68 k claimed, 560 counted, 400 of them SynOps: first layer counted as"),
        ({"acs": RATE * ADDITIONS / STEPS}, "rate applied twice and steps forgotten"),
        ({"acs": 3 * ADDITIONS}, "ACs: 1.2 k claimed, 560 counted, 400 of them SynOps"),
        ({"macs": 0.0}, "first layer counted as accumulates"),
        ({"simulation_steps": 2}, "simulation steps: 2 claimed, 4 ran"),
        ({"firing_rate": 0.1}, "firing rate: 10 % claimed, 25 % measured"),
        ({"energy_mj": 1.0}, " µJ counted by memory"),
        ({"energy_model": "compute"}, "memory left out"),
        ({"energy_model": "compute", "baseline": Baseline(8, 1.0, 99.0)}, "baseline: 99000 µJ claimed, but its MACs"),
        ({"baseline": Baseline(bits=32)}, "baseline not quantised: 4 steps are worth 3 bits, not 32"),
        ({"accuracy": Accuracy(90.0, seeds=5, picked_on="test")}, "test split used for picking"),
        ({"accuracy": Accuracy(90.0, seeds=1)}, "accuracy of 1 seed(s): too few"),
    ],
)
def test_each_mistake_is_named(wrong: dict, finding: str):
    assert any(finding in line for line in check_claims(replace(TRUE, **wrong), AUDIT))


def test_counted_numbers_are_those_of_the_audit_s_table():
    """An update of a neuron is an accumulate: 4 steps of 40 neurons stand beside the 400 of spikes."""
    row = operation_table(AUDIT)[0]
    assert (row["count"], row["MACs"], row["ACs"], row["SynOps"]) == ("event-driven", "1.28 k", "560", "400")
    assert check_claims(replace(TRUE, acs=560), AUDIT) == []
    (finding,) = check_claims(replace(TRUE, acs=560 / STEPS), AUDIT)
    assert finding == "ACs: 140 claimed, 560 counted, 400 of them SynOps: steps forgotten"
    (finding,) = check_claims(replace(TRUE, macs=5e3), AUDIT)
    assert finding == "MACs: 5 k claimed, 1.28 k counted"


def test_a_rate_that_is_applied_twice_is_told_from_forgotten_steps():
    """Both give a quarter of the additions in the network above; with a rate of 0.1 they differ."""
    twice = replace(TRUE, acs=0.1 * ADDITIONS, firing_rate=0.1)
    assert any("rate applied twice" in line for line in check_claims(twice, AUDIT))


def test_a_printed_energy_is_recomputed_from_its_own_counts():
    """SEW-ResNet-18 of SpikingJelly #348: 0.50 G ACs and 2.75 G MACs are 13.10 mJ, and not 1.310."""

    def recomputed(energy_mj: float) -> bool:
        claims = Claims(macs=2.75e9, acs=0.50e9, energy_mj=energy_mj)
        return any("its own MACs and ACs cost 13100 µJ" in line for line in check_claims(claims, AUDIT))

    assert not recomputed(13.10)
    assert recomputed(1.310)


def test_a_card_is_read_and_its_findings_are_printed(tmp_path: Path, capsys):
    (tmp_path / "card.yaml").write_text("claim: nothing is multiplied\nmacs: 0\naccuracy: {picked_on: test}\n")
    network = ["torch.nn:Linear", "--arguments", "{in_features: 2, out_features: 3}", "--inputs", "1x2"]
    given = ["--claims", str(tmp_path / "card.yaml"), "--output", str(tmp_path / "out")]
    assert main(["audit", *network, *given]) == 0
    said = capsys.readouterr().out
    assert "does not hold: MACs: 0 claimed, 6 counted" in said
    assert "test split used for picking" in said
    page = (tmp_path / "out" / "audit.html").read_text()
    assert "Claims: nothing is multiplied" in page and "Does not hold: MACs: 0 claimed, 6 counted" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy_model: mine", "energy_model: no mine; there are compute"),
        ("simulation_steps: 0", "simulation_steps: 0 must be at least 1"),
        ("watts: 3", "watts"),
    ],
)
def test_bad_cards_are_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "card.yaml", Claims)
