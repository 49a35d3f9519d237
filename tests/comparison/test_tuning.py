"""Equal tuning: draws, who goes on, expected bests; and a search that is killed ends as one that is not."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import small_experiment, write_ave, write_variants

from snn_cace.cli import main
from snn_cace.comparison.plan import Run
from snn_cace.comparison.tuning import Trial, Tuning, distribution, draw, expected_best, thin_out
from snn_cace.errors import InputError
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.run import train

RANGES = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.milestones": {"choices": [[1], [2, 3]]},
}
SPIKING = {"model.spiking.tau": {"low": 1.2, "high": 4.0}}
SEARCH = """
name: small
experiments: [dense.yaml, spiking.yaml]
seeds: [0]
controls: []
tuning:
  trials: 4
  rungs: [1]
  energy: true
  ranges:
    training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
    training.milestones: {choices: [[1], [2, 3]]}
  spiking:
    model.spiking.tau: {low: 1.2, high: 4.0}
"""


def trial(number: int, tmp_path: Path, scores: list[float], **settings: Any) -> Trial:
    files = RunFiles(tmp_path / str(number))
    files.directory.mkdir(exist_ok=True)
    files.history.write_text(json.dumps([{"val/segment_accuracy": score} for score in scores]))
    return Trial(number, settings, Run(small_experiment(None), 0, files))


def test_draws_depend_on_the_number_and_shared_ranges_are_searched_at_the_same_points():
    tuning = Tuning(trials=4)
    dense, spiking = draw(tuning, RANGES, [], 4), draw(tuning, RANGES | SPIKING, [], 4)
    assert [{key: point[key] for key in RANGES} for point in spiking] == dense
    assert len({point["training.learning_rate"] for point in dense}) == 4
    before = [Trial(n, {}, None) for n in range(3)]  # type: ignore[arg-type]
    assert draw(tuning, RANGES, before, 1) == dense[3:]
    assert draw(Tuning(trials=4, seed=1), RANGES, [], 4) != dense


def test_tpe_learns_from_the_batches_before_and_repeats(tmp_path: Path):
    tuning = Tuning(trials=12, sampler="tpe", batch=4)
    good = [trial(n, tmp_path, [90.0 - n], x=0.1 * n) for n in range(8)]
    ranges = {"x": {"low": 0.0, "high": 1.0}}
    first = draw(tuning, ranges, good, 4)
    assert first == draw(tuning, ranges, good, 4)
    assert first != draw(tuning, ranges, good[:4], 4)


def test_who_goes_on_is_the_better_share_at_the_rung_whatever_came_later(tmp_path: Path):
    trials = [trial(n, tmp_path, scores) for n, scores in enumerate([[50.0, 99.0], [60.0], [55.0], [60.0]])]
    thin_out(trials, rung=1, keep=0.5)
    assert [t.state for t in trials] == ["pruned", "waiting", "pruned", "waiting"]


def test_the_expected_best_is_the_mean_over_all_draws_with_replacement():
    scores = [3.0, 7.0, 8.0]
    found = expected_best(scores)
    for number, point in enumerate(found, start=1):
        best = [max(draws) for draws in itertools.product(scores, repeat=number)]
        assert point["mean"] == pytest.approx(np.mean(best))
        assert point["std"] == pytest.approx(np.std(best))


@pytest.mark.parametrize("given", [{"low": 1}, {"low": 2, "high": 1}, {"low": 1, "high": 2, "logg": True}, [1, 2], 3])
def test_a_range_that_is_none_is_named(given: Any):
    with pytest.raises(InputError, match=r"tuning: model\.psi needs"):
        distribution("model.psi", given)


def test_a_run_that_waited_goes_on_as_if_it_had_not_and_patience_ends_it(tmp_path: Path):
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=4, block="spiking")
    assert train(experiment, tmp_path / "paused", quiet=True, until=2) == {}
    paused, whole = RunFiles(tmp_path / "paused"), RunFiles(tmp_path / "whole")
    assert len(json.loads(paused.history.read_text())) == 2 and not paused.metrics.exists()
    metrics = train(experiment, tmp_path / "paused", resume=True, quiet=True, test=False)
    train(experiment, tmp_path / "whole", quiet=True)
    assert paused.history.read_text() == whole.history.read_text()
    assert "test" not in metrics and not paused.predictions.exists()
    experiment.training.patience, experiment.training.learning_rate = 1, 1e-12
    train(experiment, tmp_path / "patient", quiet=True)
    assert len(json.loads(RunFiles(tmp_path / "patient").history.read_text())) == 2


@pytest.fixture
def search(tmp_path: Path) -> Path:
    write_variants(tmp_path, epochs=3)
    (tmp_path / "compare.yaml").write_text(SEARCH)
    return tmp_path / "compare.yaml"


def result(output: Path) -> dict[str, Any]:
    """What a comparison says, without what the clock says."""
    found = json.loads((output / "comparison.json").read_text())
    return {
        "tuning": found["tuning"],
        "accuracies": [variant["test_segment_accuracy"] for variant in found["variants"]],
        "histories": [run["history"] for run in found["runs"]],
    }


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_a_search_that_is_killed_ends_as_one_that_is_not(search: Path, tmp_path: Path):
    words = ["compare", "--config", str(search), "--device", "cpu", "--jobs", "2"]
    assert main([*words, "--output", str(tmp_path / "whole")]) == 0
    whole = result(tmp_path / "whole")
    for variant in whole["tuning"]["variants"]:
        trials = variant["trials"]
        assert [t["state"] for t in trials].count("finished") == 2
        for one in trials:
            assert one["epochs"] == (3 if one["state"] == "finished" else 1)
        finished = [t for t in trials if t["state"] == "finished"]
        assert trials[variant["best"]]["score"] == max(t["score"] for t in finished)
        assert all(t["energy_mj"]["compute"] > 0 for t in finished)
        files = RunFiles(tmp_path / "whole" / "tuning" / variant["variant"] / f"trial-{finished[0]['number']:03d}")
        assert "test" not in json.loads(files.metrics.read_text())
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "Every variant had 4 trials, drawn at random" in page

    command = [sys.executable, "-m", "snn_cace", *words, "--output", str(tmp_path / "cut")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and trained(tmp_path / "cut") < 10:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut" / "comparison.json").exists(), "killed in the middle"
    assert main([*words, "--output", str(tmp_path / "cut")]) == 0
    assert result(tmp_path / "cut") == whole


def trained(output: Path) -> int:
    """Epochs of all runs and trials together."""
    total = 0
    for path in output.rglob("history.json"):
        try:
            total += len(json.loads(path.read_text()))
        except (OSError, json.JSONDecodeError):
            continue
    return total
