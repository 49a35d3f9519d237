"""The config's contract: every option is explained, shared defaults are overridden slot by slot, files round-trip."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import yaml

from snn_cace.config import Experiment, ModelConfig, SlotConfig, SpikingConfig, as_yaml, read_config, typed_parser


def test_every_option_of_train_is_explained_in_words():
    actions = typed_parser(Experiment)._actions
    unexplained = [
        action.dest
        for action in actions
        if action.dest not in ("help", "config", "print_config") and not (action.help or "").strip()
    ]
    assert len(actions) > 100
    assert unexplained == []
    assert all(action.help != argparse.SUPPRESS for action in actions)


def test_a_slots_own_values_go_over_the_shared_defaults():
    shared = SpikingConfig(steps=8, tau=3.0)
    own = SlotConfig(block="spiking", tau=1.5, coding="latency").spiking(shared)
    assert (own.steps, own.tau, own.coding, own.readout) == (8, 1.5, "latency", "rate")
    assert own.block().node.tau == 1.5


def test_a_written_config_reads_back_the_same_and_overrides_win(tmp_path: Path):
    experiment = Experiment(name="x", model=ModelConfig(psi=0.25))
    experiment.model.slots.interaction = SlotConfig(block="spiking", node="ilif", levels=3)
    (tmp_path / "x.yaml").write_text(as_yaml(experiment))
    assert read_config(tmp_path / "x.yaml", Experiment) == experiment
    changed = read_config(
        tmp_path / "x.yaml", Experiment, ["--model.slots.interaction.levels", "5", "--training.precision", "64"]
    )
    assert changed.model.slots.interaction.levels == 5
    assert changed.training.precision == "64"
    assert yaml.safe_load(as_yaml(changed))["model"]["psi"] == 0.25


@pytest.mark.parametrize("precision", ["32", "64", "bf16-mixed"])
def test_precision_may_be_a_number_in_yaml(tmp_path: Path, precision: str):
    (tmp_path / "x.yaml").write_text(f"training: {{precision: {precision}}}\n")
    assert read_config(tmp_path / "x.yaml", Experiment).training.precision == precision
