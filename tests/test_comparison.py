"""Comparing: what the statistics say of made-up scores, and one comparison from YAML to page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.comparison import paired_difference as difference_between
from snn_cace.config import as_yaml


def test_a_constant_advantage_is_certain_and_equal_scores_are_no_difference():
    scores = np.random.default_rng(0).uniform(0, 100, (3, 50))
    better = difference_between(scores + 5, scores)
    assert better["difference"] == pytest.approx(5)
    assert better["ci95"] == pytest.approx([5, 5])
    assert better["p_value"] < 0.001
    same = difference_between(scores, scores)
    assert (same["difference"], same["ci95"], same["p_value"]) == (0, [0, 0], 1)


def test_noise_alone_is_not_significant_and_swapping_sides_mirrors_the_result():
    rng = np.random.default_rng(1)
    a, b = rng.normal(80, 10, (2, 3, 200))
    found, mirrored = difference_between(a, b), difference_between(b, a)
    assert found["ci95"][0] < 0 < found["ci95"][1]
    assert found["p_value"] > 0.05
    assert mirrored["difference"] == pytest.approx(-found["difference"])
    assert mirrored["ci95"] == pytest.approx([-found["ci95"][1], -found["ci95"][0]])


def test_the_interval_knows_how_much_seeds_differ():
    """Four seeds that differ by -10, 10, -10, 10 on every clip: clips alone would give no interval at all."""
    a = np.repeat([[-10.0], [10], [-10], [10]], 500, axis=1) + 50
    low, high = difference_between(a, np.full_like(a, 50))["ci95"]
    assert high - low > 10


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    write_ave(tmp_path / "ave")
    for block in ("dense", "spiking"):
        experiment = small_experiment(tmp_path / "ave", epochs=2, block=block)
        (tmp_path / f"{block}.yaml").write_text(as_yaml(experiment))
    path = tmp_path / "compare.yaml"
    path.write_text("name: small\nexperiments: [dense.yaml, spiking.yaml]\nseeds: [0, 1]\n")
    return path


@pytest.mark.slow
def test_a_comparison_from_yaml_to_page(comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["compare", "--config", str(comparison), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "4 runs, 0 finished before" in printed
    assert "| small-spiking | SNN |" in printed
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    ann, snn = result["variants"]
    assert (ann["kind"], snn["kind"]) == ("ann", "snn")
    for variant in result["variants"]:
        runs = [tmp_path / "out" / variant["name"] / f"seed-{seed}" for seed in (0, 1)]
        accuracies = [json.loads((run / "metrics.json").read_text())["test"]["segment_accuracy"] for run in runs]
        assert variant["test_segment_accuracy"]["values"] == accuracies
        assert variant["test_segment_accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
        assert variant["test_segment_accuracy"]["std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert ann["firing_rate"] == {"mean": None, "per_layer": {}}
    assert set(snn["firing_rate"]["per_layer"]) == {
        "audio_temporal.projection.layer",
        "visual_temporal.projection.layer",
    }
    assert ann["spiking_blocks"]["macs"] > snn["spiking_blocks"]["macs"] > 0
    (test,) = result["tests"]
    assert (test["a"], test["b"]) == ("small-spiking", "small-dense")
    assert test["difference"] == pytest.approx(
        snn["test_segment_accuracy"]["mean"] - ann["test_segment_accuracy"]["mean"]
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "src=" not in page and "<link" not in page

    assert main(words) == 0
    assert "4 runs, 4 finished before" in capsys.readouterr().out


def test_a_comparison_of_two_experiments_with_one_name_is_refused(
    comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    comparison.write_text("name: small\nexperiments: [dense.yaml, dense.yaml]\n")
    assert main(["compare", "--config", str(comparison), "--output", str(tmp_path / "out")]) == 2
    assert "two experiments are called 'small-dense'" in capsys.readouterr().err
    comparison.write_text("name: small\nexperiments: []\n")
    assert main(["compare", "--config", str(comparison), "--output", str(tmp_path / "out")]) == 2
    assert "name at least one experiment and one seed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
