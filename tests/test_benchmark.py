"""What a benchmark holds and how its figures hang together; never how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import small_experiment, write_ave

from snn_cace import benchmark
from snn_cace.analysis import stopwatch
from snn_cace.cli import main
from snn_cace.config import as_yaml


@pytest.mark.slow
def test_a_benchmark_measures_every_variant_and_peer_and_its_ratios_are_those_of_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(benchmark, "LIF_SHAPE", (2, 3, 8))
    monkeypatch.setattr(stopwatch.side_by_side, "__defaults__", (2, 1))  # repeats and warm-up
    ave = write_ave(tmp_path / "ave")
    for block in ("dense", "spiking"):
        (tmp_path / f"{block}.yaml").write_text(as_yaml(small_experiment(ave, block=block)))
    (tmp_path / "compare.yaml").write_text("name: small\nexperiments: [dense.yaml, spiking.yaml]\n")
    words = ["benchmark", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]
    assert main([*words, "--device", "cpu", "--batch", "2", "--steps", "1", "4"]) == 0
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    for kind, clips in (("training", 2), ("latency", 1), ("throughput", 2)):
        assert list(result[kind]) == ["small-dense", "small-spiking"]
        for row in result[kind].values():
            assert row["quartile_1"] <= row["seconds"] <= row["quartile_3"]
            assert row["samples_per_second"] == pytest.approx(clips / row["seconds"])
            assert row["times_first"] == pytest.approx(row["seconds"] / result[kind]["small-dense"]["seconds"])
    assert all(row["peak_memory_mb"] > 0 for row in result["training"].values())
    assert list(result["lif"]) == ["1", "4"]
    for rows in result["lif"].values():
        assert rows["fused (ours)"]["equal"] and rows["SpikingJelly"]["equal"]
        for row in rows.values():
            assert row["times_ours"] == pytest.approx(row["seconds"] / rows["fused (ours)"]["seconds"])
    assert "| small-spiking |" in capsys.readouterr().out
    assert "| 4 | SpikingJelly |" in (tmp_path / "out" / "benchmark.md").read_text()
