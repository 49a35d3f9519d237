"""The config's contract: every option is explained, shared defaults are overridden slot by slot, files round-trip."""

from __future__ import annotations

import argparse
import functools
import itertools
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurons import BlockConfig
from snn_cace import yaml_text
from snn_cace.cli import main
from snn_cace.commands import run
from snn_cace.comparison.plan import Comparison
from snn_cace.config import (
    Experiment,
    ModelConfig,
    SlotsConfig,
    as_dict,
    as_yaml,
    different_keys,
    dotted,
    from_dict,
    put_over,
    read_config,
    typed_parser,
)
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
    own = (
        SlotsConfig(feed_forward={"block": "spiking", "tau": 1.5, "coding": "latency"})
        .slot("feed_forward")
        .spiking(shared)
    )
    assert (own.steps, own.tau, own.coding, own.readout) == (8, 1.5, "latency", "rate")


def test_a_written_config_reads_back_the_same_and_overrides_win(tmp_path: Path):
    experiment = Experiment(name="x", model=ModelConfig(psi=0.25))
    experiment.model.slots.interaction |= {"block": "spiking", "node": "ilif", "levels": 3}
    (tmp_path / "x.yaml").write_text(as_yaml(experiment))
    assert read_config(tmp_path / "x.yaml", Experiment) == experiment
    changed = read_config(
        tmp_path / "x.yaml", Experiment, {"model.slots.interaction.levels": 5, "training.precision": "64"}
    )
    assert changed.model.slots.interaction["levels"] == 5
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
    assert found.training.milestones == [3] and found.model.slots.feed_forward["block"] == "spiking"


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
        ("base: y.yaml\ntraining.epochs: many", "training.epochs: must be a whole number, not 'many'"),
        ("base: y.yaml\ntraining.learning_rate: low", "training.learning_rate: must be a number, not 'low'"),
        ("base: z.yaml\ntraining.epochs: 3", r"z\.yaml: unknown key training\.epoch; did you mean training\.epochs\?"),
    ],
)
def test_what_is_wrong_with_a_base_is_one_line(tmp_path: Path, content: str, message: str):
    (tmp_path / "x.yaml").write_text(content)
    (tmp_path / "y.yaml").write_text("name: y")
    (tmp_path / "z.yaml").write_text("training: {epoch: 3}")
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
    "data.batch_size": [0, 2.5, 2**63],
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
    assert [type(seed) for seed in read_config(write(tmp_path, "seeds: [0, 7]"), Comparison).seeds] == [int, int]


def test_a_run_is_the_same_where_a_key_was_added_since_with_its_default(tmp_path: Path):
    experiment = Experiment(name="x")
    written = yaml.safe_load(as_yaml(experiment))
    del written["training"]["fused"]
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(written))
    old = read_config(tmp_path / "old.yaml", Experiment)
    assert different_keys(old, experiment) == []
    experiment.training.fused = False
    assert different_keys(old, experiment) == ["training.fused"]


def test_a_key_of_before_is_passed_over_where_it_did_nothing_and_refused_where_it_did():
    did_nothing = {
        "training": {"recompute": False, "distillation": {"teacher": None}},
        "model.spiking.coding_range": "sigmoid",
    }
    assert from_dict(did_nothing, Experiment, "old") == Experiment()
    with pytest.raises(InputError, match="recompute"):
        from_dict({"training.recompute": True}, Experiment, "old")


SETTINGS: dict[str, object] = {
    "name": "mine",
    "data.batch_size": 8,
    "data.avdigits.train_clips": 16,
    "model.psi": 0.25,
    "model.d_model": 16,
    "model.key_dim": None,
    "model.contrast.enabled": False,
    "model.slots.feed_forward.block": "spiking",
    "model.slots.feed_forward.surrogate": "leaky_k_relu",
    "model.slots.feed_forward.surrogate_parameters": {"leak": 0.02},
    "model.slots.temporal_encoder.direction": "forward",
    "model.spiking.tau": 3.0,
    "training.compile": "off",
    "training.milestones": [3, 4],
}


@st.composite
def spelled(draw: st.DrawFn, keys: list[str]) -> dict[str, object]:
    """The settings of `keys` as a mapping, each key nested here and dotted there at random."""
    tree: dict = {}
    for key in keys:
        parts, inner = key.split("."), tree
        cuts = [cut for cut in range(1, len(parts)) if draw(st.booleans())]
        *above, last = (".".join(parts[a:b]) for a, b in itertools.pairwise([0, *cuts, len(parts)]))
        for piece in above:
            inner = inner.setdefault(piece, {})
        inner[last] = SETTINGS[key]
    return tree


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_experiment_is_the_same_however_its_keys_are_spelled_and_spread(tmp_path: Path, data: st.DataObject):
    """Over a base, a file on it, a comparison's common settings (over a base of its own), and overrides."""
    places = {key: data.draw(st.integers(0, 4)) for key in SETTINGS}
    base, child, below, common, overrides = (
        data.draw(spelled([key for key in SETTINGS if places[key] == place])) for place in range(5)
    )
    files = {
        "base": base,
        "child": {"base": "base.yaml", **child},
        "below": {"common": below},
        "compare": {"base": "below.yaml", "common": common},
        "whole": {},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    comparison = read_config(tmp_path / "compare.yaml", Comparison)
    found = read_config(tmp_path / "child.yaml", Experiment, put_over(comparison.common, overrides))
    assert as_dict(found) == as_dict(read_config(tmp_path / "whole.yaml", Experiment, SETTINGS))


def write(directory: Path, text: str) -> Path:
    (directory / "x.yaml").write_text(text)
    return directory / "x.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {psi: 0.1}\nmodel: {beta: 0.9}", r"x\.yaml is not YAML: model is there twice .*line 2"),
        ("model: {psi: 0.1}\nmodel.psi: 0.2", "model.psi is there twice .*line 2"),
        (
            "model.slots: {feed_forward.tau: 3}\nmodel: {slots.feed_forward: {tau: 3}}",
            "feed_forward.tau is there twice",
        ),
        ("model.slots.feed_forward: {block: spiking}\nmodel.slots.feed_forward: {tau: 3}", "is there twice .*line 2"),
        ("model: {psi: 0.1, psi: 0.1}", "model.psi is there twice .*line 1"),
        ("training.milestones: 3\ntraining.milestones.x: 3", "training.milestones is there twice"),
        ("model: 3\nmodel.psi: 0.1", "model is there twice"),
        ("model: {[1]: 2}", "Key must be a string, got: a sequence"),
        ("null: 2", "Key must be a string, got: null"),
        ("name: a\n---\nname: b", "expected a single document"),
        ("model: &a {slots: *a}", "is not YAML"),
        ("training.epochs: !!int x", "is not YAML"),
        ("training.epochs: !!timestamp x", "is not YAML"),
        ("training.epochs: !!timestamp 2024-01-01", "training.epochs"),
        (f"training.epochs: {'9' * 5000}", "is not YAML"),
    ],
)
def test_a_file_that_says_a_key_twice_or_is_no_mapping_of_strings_is_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(InputError, match=message) as refusal:
        read_config(write(tmp_path, text), Experiment)
    assert "\n" not in str(refusal.value)


def test_overrides_that_say_a_key_twice_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"x\.yaml, changed: model\.psi is there twice"):
        read_config(write(tmp_path, ""), Experiment, {"model": {"psi": 0.1}, "model.psi": 0.1})


REFUSED = object()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        *[("training.epochs", text, 10) for text in ("010", "10", "0xA", "0b1010", "0o12", "1_0", "+10", "'10'")],
        *[
            ("training.epochs", text, REFUSED)
            for text in ("1:30", "2024-01-01", ".inf", ".nan", "inf", "off", "1.5", "[]")
        ],
        ("training.epochs", "1e3", 1000),
        ("model.spiking.steps", "1:30", REFUSED),
        ("model.spiking.tau", "1:30.5", REFUSED),
        *[("model.spiking.tau", text, REFUSED) for text in (".inf", "-.inf", ".nan", "true", "{}")],
        *[("training.learning_rate", text, 0.001) for text in ("1e-3", "1E-3", "0.001", ".001", "1.0e-3", "0.1e-2")],
        *[("training.learning_rate", text, REFUSED) for text in (".inf", ".NaN", "inf", "nan", "1:30")],
        ("model.spiking.surrogate_parameters", "{beta: .inf}", REFUSED),
        ("training.milestones", "[010, 0x10]", [10, 16]),
        ("training.milestones", "[10, null]", REFUSED),
        ("training.compile", "off", "off"),
        *[("training.compile", text, REFUSED) for text in ("no", "false", "on", "OFF")],
        *[("data.shuffle", text, False) for text in ("off", "no", "false", "False", "NO", "Off")],
        *[("data.shuffle", text, True) for text in ("on", "yes", "true")],
        *[("data.shuffle", text, REFUSED) for text in ("0", "1", "n", "never")],
        ("model.spiking.learn_threshold", "yes", True),
        ("model.spiking.learn_threshold", "layer", "layer"),
        *[("name", text, text) for text in ("off", "yes", "2024-01-01", "1:30", "a=b")],
        ("name", "'010'", "010"),
        *[("name", text, REFUSED) for text in ("010", "1e3", "true", ".inf")],
    ],
)
def test_a_spelling_means_what_it_looks_like_in_a_file_and_as_common_setting_or_is_refused_by_name(
    tmp_path: Path, key: str, text: str, value: object
):
    within = yaml_text.load(f"common: {{{key}: {text}}}")
    for found in (lambda: read_config(write(tmp_path, f"{key}: {text}"), Experiment),
                  lambda: read_config(write(tmp_path, ""), Experiment, within["common"])):  # fmt: skip
        if value is REFUSED:
            with pytest.raises(InputError, match=key.rpartition(".")[2]):
                found()
        else:
            settled = dotted(as_dict(found()))[key]
            assert (settled, type(settled)) == (value, type(value))


@pytest.mark.parametrize(
    "name", ["010", "1e3", "off", "1:30", "0o7", "0b1", "08", "1_0", "null", "~", "2024-01-01", "="]
)
def test_a_name_that_looks_like_something_else_reads_back_as_it_was(tmp_path: Path, name: str):
    written = write(tmp_path, as_yaml(Experiment(name=name)))
    assert read_config(written, Experiment).name == yaml.safe_load(written.read_text())["name"] == name


def test_a_key_left_empty_is_as_if_it_were_not_there(tmp_path: Path):
    """Whatever holds it; null is a value where a key may be null."""
    (tmp_path / "base.yaml").write_text(
        "training: {epochs: 7}\nmodel.key_dim: 3\nmodel.psi: 0.5\ndata.directory: there\n"
    )
    text = "base: base.yaml\nname:\ntraining:\n  epochs:\ndata.shuffle:\nmodel: {psi: ~, key_dim: null}\n"
    found = read_config(write(tmp_path, text), Experiment, {"training": None, "data.directory": None})
    assert (found.training.epochs, found.model.psi, found.name) == (7, 0.5, "experiment")
    assert (found.model.key_dim, found.data.directory, found.data.shuffle) == (None, None, True)
    assert as_dict(read_config(write(tmp_path, "# nothing\n"), Experiment)) == as_dict(Experiment())


def test_merge_keys_and_a_byte_order_mark_are_read(tmp_path: Path):
    path = write(tmp_path, "")
    path.write_bytes(
        "\ufeffmodel.slots:\n  event_head: &a {block: spiking, tau: 3}\n  interaction: {<<: *a, tau: 4}\n".encode()
    )
    slots = read_config(path, Experiment).model.slots
    assert (slots.interaction["block"], slots.interaction["tau"], slots.event_head["tau"]) == ("spiking", 4, 3)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "x"])
def test_a_seed_that_numpy_does_not_take_is_refused_wherever_it_is_given(tmp_path: Path, seed: object):
    given = [
        (Experiment, {"training.seed": seed}, "seed"),
        (Experiment, {"data.avdigits.seed": seed}, "seed"),
        (Comparison, {"seeds": [0, seed]}, "seeds"),
        (Comparison, {"tuning.training_seed": seed}, "training_seed"),
        (Comparison, {"tuning.seed": seed}, "seed"),
    ]
    for config_class, overrides, key in given:
        with pytest.raises(InputError, match=key):
            read_config(write(tmp_path, ""), config_class, overrides)
    assert read_config(write(tmp_path, "training.seed: 4294967295"), Experiment).training.seed == 2**32 - 1


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--config", "x.yaml", "--training.seed", "-1"],
        ["train", "--config", "x.yaml", "--training", "{seed: 4294967296}"],
        ["compare", "--config", "x.yaml", "--seeds", "0", "-1"],
        ["compare", "--config", "x.yaml", "--seeds", "4294967296"],
    ],
)
def test_a_seed_of_the_command_line_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: list[str]
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "")
    assert main([*words, "--output", "out"]) == 2
    said = capsys.readouterr().err
    assert "seed" in said and said.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (
            ["--model", "{slots: {feed_forward: {block: spiking}}, psi: 0.2}"],
            {"model.slots.feed_forward.block": "spiking", "model.psi": 0.2},
        ),
        (["--model.slots", "{feed_forward: {block: spiking}}"], {"model.slots.feed_forward.block": "spiking"}),
        (["--model", "section.yaml"], {"model.psi": 0.7, "model.slots.interaction.block": "spiking"}),
        (["--data", "there"], {"data.directory": "there"}),
        (["--data.shuffle", "off", "--training.compile", "off"], {"data.shuffle": False}),
        (
            ["--training.epochs", "010", "--model.spiking.steps", "0x10"],
            {"training.epochs": 10, "model.spiking.steps": 16},
        ),
        (["--model", "{psi: 0.1, psi: 0.2}"], "psi is there twice"),
        (["--model", "{1: 2}"], "Key must be a string, got: 1"),
        (["--model", "3"], "Unable to load config '3'"),
        (["--model", "{psi: .nan}"], "psi"),
        (["--training.epochs", "null"], "training.epochs"),
        (["--model.spiking.steps", "1:30"], "model.spiking.steps"),
    ],
)
def test_options_mean_what_files_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], changes: dict[str, object] | str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "section.yaml").write_text("psi: 0.7\nslots: {interaction: {block: spiking}}\n")
    write(tmp_path, "name: x\n")
    found: list[Experiment] = []

    def collect(experiment: Experiment) -> None:
        found.append(experiment)

    words = ["--config", "x.yaml", *words]
    if isinstance(changes, str):
        with pytest.raises(InputError, match=re.escape(changes)):
            run("collect", collect, words)
    else:
        run("collect", collect, words)
        assert as_dict(found[0]) == as_dict(read_config("x.yaml", Experiment, changes))
