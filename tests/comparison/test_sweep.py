"""Sweeps: rows of every base, one tidy table, and what was published beside it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small import write_variants

from snn_cace.cli import main
from snn_cace.comparison.run import Comparison, Variant, plan_runs
from snn_cace.comparison.summary import Run
from snn_cace.comparison.sweep import Sweep, rows_of
from snn_cace.comparison.tuning import Tuned, by_key, make_trial
from snn_cace.config import put_over, read_config
from snn_cace.errors import InputError

ROWS = """
name: small
bases: [dense.yaml, spiking.yaml]
seeds: [0, 1]
published_on: AVE, protocol paper
rows:
  - {name: plain, model.contrast.enabled: false, published: 78.83}
  - {model.contrast.enabled: true}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    write_variants(tmp_path, epochs=1)
    (tmp_path / "sweep.yaml").write_text(ROWS)
    return tmp_path / "sweep.yaml"


def test_every_combination_is_a_row_of_every_base(sweep: Path):
    varied = Sweep(bases=["dense.yaml", "spiking.yaml"], vary={"model.psi": [0.0, 0.3], "model.alpha": [0.1, 0.2]})
    rows = rows_of(varied, sweep, {"training.epochs": 7})
    assert [row.name for row in rows[:3]] == [
        "small-dense-psi-0.0-alpha-0.1",
        "small-dense-psi-0.0-alpha-0.2",
        "small-dense-psi-0.3-alpha-0.1",
    ]
    assert len(rows) == 8
    experiment = rows[-1].variant.read()
    assert (experiment.model.psi, experiment.model.alpha, experiment.training.epochs) == (0.3, 0.2, 7)
    for wrong in ({}, {"rows": [{}], "vary": {"model.psi": [0.1]}}):
        with pytest.raises(InputError, match="give either rows or vary"):
            Sweep(**wrong)


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
def test_a_sweep_trains_with_its_bases_own_settings_however_keys_are_spelled(tmp_path: Path, given: str):
    (tmp_path / "mine.yaml").write_text(DOTTED)
    (tmp_path / "common.yaml").write_text("common.model.spiking.tau: 3.0\n")
    (tmp_path / "sweep.yaml").write_text(f"bases: [mine.yaml]\nseeds: [4]\n{given}\n")
    sweep = read_config(tmp_path / "sweep.yaml", Sweep)
    rows = rows_of(sweep, tmp_path / "sweep.yaml", {"data": {"batch_size": 8}})
    (run,) = plan_runs([row.variant for row in rows], sweep.seeds, tmp_path / "sweep.yaml", tmp_path)
    check_mine(run)
    assert run.experiment.training.milestones == [5]
    assert rows[0].changes["training.milestones"] == [5] and "training.epochs" not in rows[0].changes


def check_mine(run: Run) -> None:
    """A run of mine.yaml with tau 3 and batches of 8."""
    model, training = run.experiment.model, run.experiment.training
    assert (model.d_model, model.slots.feed_forward.block, model.spiking.tau) == (16, "spiking", 3.0)
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
    search = Tuned("mine", by_key(comparison.tuning.ranges), [])
    trial = make_trial(
        comparison.tuning, tmp_path / "mine.yaml", changes, tmp_path, search, 0, {"model.spiking.tau": "3.0"}
    )
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
    (tmp_path / "sweep.yaml").write_text(f"bases: [mine.yaml]\n{text}\n")
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "sweep.yaml", Sweep)


@pytest.mark.slow
def test_a_sweep_is_one_table_and_goes_on_where_a_run_failed(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    words = ["sweep", "--config", str(sweep), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "| small-dense-plain | False |" in printed and "| 78.83 | - | - |" in printed
    table = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [row["name"] for row in table["rows"]] == [
        "small-dense-plain", "small-dense", "small-spiking-plain", "small-spiking",
    ]  # fmt: skip
    assert [row["published"] for row in table["rows"]] == [78.83, None, None, None]
    assert [row["test"] and row["test"]["b"] for row in table["rows"]] == [
        None, "small-dense-plain", None, "small-spiking-plain",
    ]  # fmt: skip
    lines = list(csv.DictReader((tmp_path / "out" / "sweep.csv").open()))
    assert len(lines) == 8
    for line in lines:
        metrics = json.loads((tmp_path / "out" / line["variant"] / f"seed-{line['seed']}" / "metrics.json").read_text())
        assert float(line["test_accuracy"]) == metrics["test"]["segment_accuracy"]
        assert float(line["val_accuracy"]) == pytest.approx(metrics["val"]["segment_accuracy"])
    assert (tmp_path / "out" / "figures" / "sweep.png").is_file()
