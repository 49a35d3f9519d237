"""The config's contract: every option is explained, shared defaults are overridden slot by slot, files round-trip."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import pytest
import yaml

from neurons import BlockConfig
from snn_cace.config import Experiment, ModelConfig, SlotConfig, as_yaml, different_keys, read_config, typed_parser
from snn_cace.errors import InputError


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
    shared = BlockConfig(steps=8, tau=3.0)
    own = SlotConfig(block="spiking", tau=1.5, coding="latency").spiking(shared)
    assert (own.steps, own.tau, own.coding, own.readout) == (8, 1.5, "latency", "rate")


def test_a_written_config_reads_back_the_same_and_overrides_win(tmp_path: Path):
    experiment = Experiment(name="x", model=ModelConfig(psi=0.25))
    experiment.model.slots.interaction = SlotConfig(block="spiking", node="ilif", levels=3)
    (tmp_path / "x.yaml").write_text(as_yaml(experiment))
    assert read_config(tmp_path / "x.yaml", Experiment) == experiment
    changed = read_config(
        tmp_path / "x.yaml", Experiment, {"model.slots.interaction.levels": 5, "training.precision": "64"}
    )
    assert changed.model.slots.interaction.levels == 5
    assert changed.training.precision == "64"
    assert yaml.safe_load(as_yaml(changed))["model"]["psi"] == 0.25


@pytest.mark.parametrize("precision", ["32", "64", "bf16-mixed"])
def test_precision_may_be_a_number_in_yaml(tmp_path: Path, precision: str):
    (tmp_path / "x.yaml").write_text(f"training: {{precision: {precision}}}\n")
    assert read_config(tmp_path / "x.yaml", Experiment).training.precision == precision


def test_a_file_with_a_base_holds_only_what_differs(tmp_path: Path):
    """Bases of bases, nested and dotted keys; lists are replaced; the same by --config of a verb's parser."""
    (tmp_path / "first.yaml").write_text("name: first\nmodel: {psi: 0.1, beta: 0.2}\ntraining: {milestones: [1, 2]}\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "second.yaml").write_text("base: ../first.yaml\nname: second\nmodel.psi: 0.5\n")
    third = tmp_path / "third.yaml"
    third.write_text("base: sub/second.yaml\ntraining: {milestones: [3]}\nmodel.slots.feed_forward.block: spiking\n")
    found = read_config(third, Experiment, {"model.gamma": 0.9})
    assert (found.name, found.model.psi, found.model.beta, found.model.gamma) == ("second", 0.5, 0.2, 0.9)
    assert found.training.milestones == [3] and found.model.slots.feed_forward.block == "spiking"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: absent.yaml", "no config file .*absent.yaml"),
        ("base: x.yaml", "x.yaml is its own base"),
        ("base: [1]", r"base must be the name of a file beside it, not \[1\]"),
        ("- 1", "is no mapping of keys to values"),
        ("a: {", "is not YAML"),
        ("a: " + "[" * 100_000, "is not YAML"),
        ("model: {1: 2}", "Key must be a string, got: 1"),
        ("base: y.yaml\nmodel: 3", "model"),
    ],
)
def test_what_is_wrong_with_a_base_is_one_line(tmp_path: Path, content: str, message: str):
    (tmp_path / "x.yaml").write_text(content)
    (tmp_path / "y.yaml").write_text("name: y")
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "x.yaml", Experiment)


OUT_OF_RANGE = {
    "model.dropout": [1.0, 1.5, -0.1],
    "model.relation_dropout": [1.0],
    "model.attention_dim": [0],
    "model.key_dim": [-3, 0],
    "model.top_segments": [0],
    "model.contrast.start": [7, -0.5],
    "model.contrast.temperature": [0],
    "training.decay": [-2, 0],
    "training.gradient_clip": [-1],
    "training.epochs": [0],
    "training.learning_rate": [0, -1e-3],
    "training.devices": [0],
    "data.workers": [-1],
    "data.batch_size": [0, 2.5],
    "data.avdigits.val_clips": [0],
    "model.spiking.steps": [0],
    "model.spiking.tau": [1],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in OUT_OF_RANGE.items() for value in values])
def test_a_number_out_of_range_is_refused_by_name_in_a_file_and_in_python(tmp_path: Path, key: str, value: float):
    path = tmp_path / "x.yaml"
    path.write_text(f"{key}: {value}\nmodel.slots.feed_forward.block: spiking\n")
    last = key.rpartition(".")[2]
    with pytest.raises(InputError, match=last):
        read_config(path, Experiment)
    if not key.startswith("model.spiking") and value != 2.5:
        experiment = Experiment()
        *above, name = key.split(".")
        setattr(functools.reduce(getattr, above, experiment), name, value)
        with pytest.raises(InputError, match=key):
            Experiment(**vars(experiment))


def test_numbers_that_were_checked_are_plain(tmp_path: Path):
    """So that YAML, JSON and checkpoints take them."""
    (tmp_path / "x.yaml").write_text("training: {epochs: 3, decay: 0.1}\n")
    training = read_config(tmp_path / "x.yaml", Experiment).training
    assert (type(training.epochs), type(training.decay), type(training.seed)) == (int, float, int)


def test_a_run_is_the_same_where_a_key_was_added_since_with_its_default(tmp_path: Path):
    experiment = Experiment(name="x")
    written = yaml.safe_load(as_yaml(experiment))
    del written["training"]["recompute"]
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(written))
    old = read_config(tmp_path / "old.yaml", Experiment)
    assert different_keys(old, experiment) == []
    experiment.training.recompute = True
    assert different_keys(old, experiment) == ["training.recompute"]
