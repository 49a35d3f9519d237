"""One comparison from YAML to page, whole and with a variant that fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import small_experiment, write_variants

from neurons import LIF, Node
from snn_cace.cli import main
from snn_cace.comparison.plan import Variant, refuse_other_study
from snn_cace.config import as_yaml
from snn_cace.report.conclusions import energy_steps


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    write_variants(tmp_path, epochs=2)
    path = tmp_path / "compare.yaml"
    path.write_text("name: small\nexperiments: [dense.yaml, spiking.yaml]\nseeds: [0, 1]\n")
    return path


@pytest.mark.slow
def test_a_comparison_from_yaml_to_page(comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["compare", "--config", str(comparison), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "10 runs, 0 finished before" in printed
    assert "\n| small-spiking | " in printed
    assert "from shape and norm, " in printed
    assert "Spikes themselves: small-spiking measured " in printed
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    ann, snn, *controls = result["variants"]
    assert [variant["kind"] for variant in result["variants"]] == ["ann", "snn", *["control"] * 3]
    assert [control["control"] for control in controls] == [
        {"name": f"small-spiking-{kind}", "of": "small-spiking", "kind": kind}
        for kind in ("rectified", "leaky", "quantised")
    ]
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
    for variant in result["variants"]:
        for counted in variant["counts"].values():
            assert counted["operations"]["macs"] == pytest.approx(sum(m["macs"] for m in counted["modules"]))
            for model in result["energy_models"]:
                parts = sum(module["energy_mj"][model] for module in counted["modules"])
                assert counted["energy_mj"][model] == pytest.approx(parts)
                share = counted["spiking_blocks"]["energy_mj"][model] / counted["energy_mj"][model]
                assert counted["spiking_blocks"]["share"][model] == pytest.approx(share, rel=5e-3)  # a mean of ratios
    dense, spiking = (variant["counts"]["conservative"] for variant in (ann, snn))
    assert dense["spiking_blocks"]["macs"] > spiking["spiking_blocks"]["macs"] > 0
    for model in result["energy_models"]:
        assert spiking["replaced_blocks_energy_mj"][model] == pytest.approx(dense["spiking_blocks"]["energy_mj"][model])
    (chain,) = result["attribution"]
    assert [link["part"] for link in chain["links"]] == ["shape and norm", "memory", "bits", "spikes"]
    whole = chain["whole"]["accuracy"]["difference"]
    assert sum(link["accuracy"]["difference"] for link in chain["links"]) == pytest.approx(whole)
    for model in ann["best"]:
        spent = sum(step["energy"][model]["difference_mj"] for step in energy_steps(chain))
        assert spent == pytest.approx(snn["best"][model]["mean"] - ann["best"][model]["mean"])
    for count, counted in snn["counts"].items():  # readers of rates are touched by spikes whichever count is best
        touched, blocks = np.mean(counted["touched_values_mj"]["compute"]), counted["spiking_blocks"]["energy_mj"]
        assert touched > blocks["compute"] if count == "conservative" else touched == pytest.approx(blocks["compute"])
    assert [depth["steps"] for depth in snn["anytime"]["depths"]] == [1, 2, 4]
    last = snn["anytime"]["depths"][-1]["segment_accuracy"]
    assert last["values"] == pytest.approx(snn["test_segment_accuracy"]["values"])
    assert np.sum(ann["confusion"]) == 2 * 3 * 10
    written = (tmp_path / "out" / "report.html").read_text()
    by_hand = np.array(ann["confusion"])
    called = 100 * by_hand[:, :-1].sum() / by_hand.sum()
    truly = 100 * by_hand[:-1].sum() / by_hand.sum()
    assert f'<td class="words">small-dense</td><td>{called:.1f}</td><td>{truly:.1f}</td>' in written
    assert ann["pointing"] is None, "only AV-Digits knows where the object is"
    clips = result["attention"]["clips"]
    for clip in clips:
        assert [network["name"] for network in clip["networks"]] == [v["name"] for v in result["variants"]]
        for network in clip["networks"]:
            assert np.sum(network["weights"], (1, 2)) == pytest.approx(np.ones(10), abs=0.01)
    assert len(clips) == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The last clip." in page and "The pointing game" not in page
    test = result["tests"][0]
    assert (test["a"], test["b"]) == ("small-spiking", "small-dense")
    assert len(result["tests"]) == 5, "the whole and four links"
    assert test["difference"] == pytest.approx(
        snn["test_segment_accuracy"]["mean"] - ann["test_segment_accuracy"]["mean"]
    )
    assert "2 seeds are too few to conclude from" in (tmp_path / "out" / "comparison.md").read_text()

    alone = tmp_path / "alone" / "comparison.json"
    alone.parent.mkdir()
    alone.write_bytes((tmp_path / "out" / "comparison.json").read_bytes())
    assert main(["report", "--comparison", str(alone), "--output", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "report.html").read_text() == (tmp_path / "out" / "report.html").read_text()
    assert main(["report", "--comparison", str(alone), "--output", str(tmp_path / "again")]) == 2
    capsys.readouterr()

    assert main(words) == 0
    assert "10 runs, 10 finished before" in capsys.readouterr().out


def test_a_comparison_that_names_an_experiment_or_a_seed_twice_or_none_is_refused(
    comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    comparison.write_text("name: small\nexperiments: [dense.yaml, dense.yaml]\n")
    assert main(["compare", "--config", str(comparison), "--output", str(tmp_path / "out")]) == 2
    assert "two experiments are called 'small-dense'" in capsys.readouterr().err
    comparison.write_text("name: small\nexperiments: []\n")
    assert main(["compare", "--config", str(comparison), "--output", str(tmp_path / "out")]) == 2
    assert "name at least one experiment and one seed" in capsys.readouterr().err
    comparison.write_text("name: small\nexperiments: [dense.yaml]\n")
    assert main(["compare", "--config", str(comparison), "--output", str(tmp_path / "out"), "--seeds", "1", "1"]) == 2
    assert "a seed is named twice in [1, 1]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_comparison_of_another_study_is_not_written_over(
    comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    output = tmp_path / "out"
    output.mkdir()
    path = output / "comparison.json"
    for name, experiment in (("other", "small-dense"), ("small", "avel")):
        path.write_text(json.dumps({"name": name, "variants": [{"name": experiment}]}))
        before = path.read_bytes()
        assert main(["compare", "--config", str(comparison), "--output", str(output)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"is of the comparison '{name}'" in line and "give a fresh --output" in line
        assert [*output.iterdir()] == [path] and path.read_bytes() == before
    variants = [Variant(tmp_path / f"{block}.yaml") for block in ("dense", "spiking")]
    path.write_text(json.dumps({"name": "small", "variants": [{"name": "small-dense"}]}))
    refuse_other_study("small", variants, output)  # goes on, with one more
    path.write_text("damaged")
    refuse_other_study("small", variants, output)


def test_a_node_that_cannot_be_counted_is_refused_before_anything_trains(
    comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(LIF, "cost", Node.cost)
    assert main(["compare", "--config", str(comparison), "--output", str(tmp_path / "out")]) == 2
    assert "layer: node lif has no cost per update; give its class a method" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("small-*"))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_are_compared(
    comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    broken = small_experiment(tmp_path / "ave", epochs=2, block="spiking")
    broken.name, broken.training.learning_rate = "broken", 1e30
    (tmp_path / "broken.yaml").write_text(as_yaml(broken))
    comparison.write_text("name: small\nexperiments: [dense.yaml, broken.yaml]\nseeds: [0]\ncontrols: []\n")
    words = ["compare", "--config", str(comparison), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 2
    said = capsys.readouterr()
    assert "broken, seed 0 failed: the loss is nan" in said.err
    assert "| broken | failed |" in said.out
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [variant["name"] for variant in result["variants"]] == ["small-dense"]
    assert [(failure["variant"], failure["seed"]) for failure in result["failed"]] == [("broken", 0)]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "broken, seed 0, failed and is left out" in page
