"""Sweeps: rows of every base, one tidy table, and what was published beside it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small import write_variants

from snn_cace.cli import main
from snn_cace.comparison.sweep import Sweep, rows_of
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
