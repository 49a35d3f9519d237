"""Comparisons that vary: rows of every experiment, and one tidy table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small import write_variants

from snn_cace.cli import main
from snn_cace.comparison.plan import Comparison, Run, Variant, plan_runs, varied_experiments
from snn_cace.comparison.tuning import by_key, make_trial
from snn_cace.config import put_over, read_config
from snn_cace.errors import InputError

ROWS = """
name: small
experiments: [dense.yaml, spiking.yaml]
seeds: [0, 1]
rows:
  - {name: plain, model.contrast.enabled: false}
  - {model.contrast.enabled: true}
published: {small-dense-plain: {accuracy: 78.83, note: AVE}}
controls: []
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_variants(tmp_path, epochs=1)
    (tmp_path / "study.yaml").write_text(ROWS)
    return tmp_path / "study.yaml"


def test_every_combination_is_a_row_of_every_experiment(study: Path):
    files, vary = ["dense.yaml", "spiking.yaml"], {"model.psi": [0.0, 0.3], "model.alpha": [0.1, 0.2]}
    found = varied_experiments(Comparison(experiments=files, vary=vary), study, {"training.epochs": 7})
    rows = [row for rows in found for row in rows]
    assert [row.read().name for row in rows[:3]] == [
        "small-dense-psi-0.0-alpha-0.1",
        "small-dense-psi-0.0-alpha-0.2",
        "small-dense-psi-0.3-alpha-0.1",
    ]
    assert len(rows) == 8
    experiment = rows[-1].read()
    assert (experiment.model.psi, experiment.model.alpha, experiment.training.epochs) == (0.3, 0.2, 7)
    with pytest.raises(InputError, match="give either rows or vary"):
        Comparison(rows=[{}], vary={"model.psi": [0.1]})


def test_an_experiment_may_be_written_into_the_comparison_and_be_the_base_of_another(study: Path):
    study.write_text("""
experiments:
  - dense.yaml
  - {name: fast, base: spiking.yaml, training.learning_rate: 0.1, model: {psi: 0.1}}
  - {name: faster, base: fast, training: {learning_rate: 0.2}}
common: {training.epochs: 7}
""")
    comparison = read_config(study, Comparison)
    dense, fast, faster = (row.read() for (row,) in varied_experiments(comparison, study, comparison.common))
    assert (dense.name, fast.name, faster.name) == ("small-dense", "fast", "faster")
    assert (fast.training.learning_rate, faster.training.learning_rate) == (0.1, 0.2)
    assert faster.model.psi == 0.1
    assert any(slot.spikes for slot in faster.model.slots.every().values())
    assert {e.training.epochs for e in (dense, fast, faster)} == {7}
    study.write_text("experiments: [{name: fast}]")
    comparison = read_config(study, Comparison)
    with pytest.raises(InputError, match=r"study.yaml: experiment 1 needs a name and a base"):
        varied_experiments(comparison, study, {})


DOTTED = """
name: mine
training.epochs: 1
model.d_model: 16
model.slots.feed_forward.block: spiking
"""


@pytest.mark.parametrize(
    "given",
    [
        "vary: {model.spiking.tau: [3.0], training: {milestones: [[5]]}}",
        "vary: {model: {spiking.tau: [3.0]}, training.milestones: [[5]]}",
        "rows: [{name: a, model.spiking: {tau: 3.0}, training: {milestones: [5]}}]",
        "rows: [{name: a, training.milestones: [5]}]\ncommon: {model: {spiking: {tau: 3.0}}}",
        "base: common.yaml\nrows: [{training: {milestones: [5], epochs: }}]\ncommon: {model.psi: 0.2}",
    ],
)
def test_rows_train_with_their_files_own_settings_however_keys_are_spelled(tmp_path: Path, given: str):
    (tmp_path / "mine.yaml").write_text(DOTTED)
    (tmp_path / "common.yaml").write_text("common.model.spiking.tau: 3.0\n")
    (tmp_path / "study.yaml").write_text(f"experiments: [mine.yaml]\nseeds: [4]\n{given}\n")
    study = read_config(tmp_path / "study.yaml", Comparison)
    changes = put_over(study.common, {"data": {"batch_size": 8}})
    ((row,),) = varied_experiments(study, tmp_path / "study.yaml", changes)
    (run,) = plan_runs([row], study.seeds, tmp_path / "study.yaml", tmp_path)
    check_mine(run)
    assert run.experiment.training.milestones == [5]


def check_mine(run: Run) -> None:
    """A run of mine.yaml with tau 3 and batches of 8."""
    model, training = run.experiment.model, run.experiment.training
    assert (model.d_model, model.slots.feed_forward["block"], model.spiking.tau) == (16, "spiking", 3.0)
    assert (training.epochs, training.seed, run.experiment.data.batch_size) == (1, 4, 8)


@pytest.mark.parametrize(
    "range_", ["{model.spiking.tau: {choices: [3.0]}}", "{model: {spiking: {tau: {choices: [3.0]}}}}"]
)
def test_a_comparison_and_its_trials_train_with_their_files_own_settings(tmp_path: Path, range_: str):
    (tmp_path / "mine.yaml").write_text(DOTTED)
    (tmp_path / "compare.yaml").write_text(
        "experiments: [mine.yaml]\nseeds: [0]\npublished: {snn-2.5: {accuracy: 70, note: theirs}}\n"
        f"tuning.trials: 1\ntuning.ranges: {range_}\ntuning: {{training_seed: 4}}\n"
    )
    comparison = read_config(tmp_path / "compare.yaml", Comparison)
    assert list(comparison.published) == ["snn-2.5"], "keyed by a name, which may have a dot"
    changes = put_over(comparison.common, {"data": {"batch_size": 8}})
    assert by_key(comparison.tuning.ranges).keys() == {"model.spiking.tau"}
    variant = Variant(tmp_path / "mine.yaml", changes)
    trial = make_trial(comparison.tuning, variant, tmp_path, 0, {"model.spiking.tau": 3.0})
    check_mine(trial.run)
    (run,) = plan_runs([Variant(tmp_path / "mine.yaml", put_over(changes, trial.settings))], [4], tmp_path, tmp_path)
    check_mine(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vary: {model.psi: 0.1}", "vary: model.psi needs a list of values, not 0.1"),
        ("vary: {model.psi: [0.1], model: {psi: [0.2]}}", "vary.model.psi is there twice"),
        ("rows: [{model: {psi: 1}, model.psi: 2}]", "model.psi is there twice"),
    ],
)
def test_what_varies_twice_or_has_no_values_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "study.yaml").write_text(f"experiments: [mine.yaml]\n{text}\n")
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "study.yaml", Comparison)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_study_that_varies_is_one_table(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["compare", "--config", str(study), "--output", str(tmp_path / "out"), "--device", "cpu"]) == 0
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    names = ["small-dense-plain", "small-dense", "small-spiking-plain", "small-spiking"]
    assert [variant["name"] for variant in result["variants"]] == names
    assert result["variants"][0]["published"] == {"accuracy": 78.83, "note": "AVE"}
    tested = {(test["a"], test["b"]) for test in result["tests"]}
    assert {("small-dense", "small-dense-plain"), ("small-spiking", "small-spiking-plain")} <= tested
    lines = list(csv.DictReader((tmp_path / "out" / "runs.csv").open()))
    assert len(lines) == 8
    assert [line["model.contrast.enabled"] for line in lines] == ["False", "False", "True", "True"] * 2
    for line in lines:
        metrics = json.loads((tmp_path / "out" / line["variant"] / f"seed-{line['seed']}" / "metrics.json").read_text())
        assert float(line["test_accuracy"]) == metrics["test"]["segment_accuracy"]
        assert float(line["val_accuracy"]) == pytest.approx(metrics["val"]["segment_accuracy"])
        assert (float(line["firing_rate"] or 0) > 0) == ("spiking" in line["variant"])
        assert float(line["energy_mj_compute"]) > 0


def test_a_file_for_sweep_is_compared_without_controls_by_either_word(study: Path, monkeypatch: pytest.MonkeyPatch):
    study.write_text("name: old\nbases: [dense.yaml]\nseeds: [3]\nvary: {model.psi: [0.1, 0.2]}\n")
    seen: list[tuple[Comparison, Path]] = []
    monkeypatch.setattr("snn_cace.comparison.run.run_comparison", lambda *given: seen.append(given[:2]))
    for word, seeds in (("sweep", []), ("compare", ["--seeds", "1", "2"])):
        assert main([word, "--config", str(study), *seeds]) == 0
    for (comparison, where), wanted in zip(seen, ([3], [1, 2]), strict=True):
        assert (comparison.experiments, comparison.controls, comparison.seeds) == (["dense.yaml"], [], wanted)
        assert len(varied_experiments(comparison, where, {})[0]) == 2
