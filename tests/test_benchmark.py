"""What a benchmark holds and how its figures hang together; never how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import small_experiment

from snn_cace.cli import main
from snn_cace.config import as_yaml


@pytest.mark.slow
def test_a_benchmark_measures_every_variant_and_peer_and_its_ratios_are_those_of_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    for block in ("dense", "spiking"):
        (tmp_path / f"{block}.yaml").write_text(as_yaml(small_experiment(None, block=block)))
    (tmp_path / "compare.yaml").write_text("name: small\nexperiments: [dense.yaml, spiking.yaml]\n")
    sizes = ["--patches", "2", "3", "--visual-channels", "8", "--audio-channels", "6", "--classes", "28"]
    amounts = [
        "--batch",
        "2",
        "--steps",
        "1",
        "4",
        "--batches",
        "1",
        "2",
        "--clips",
        "10",
        "20",
        "--encoder-batch",
        "2",
    ]
    words = [
        "benchmark",
        "--config",
        str(tmp_path / "compare.yaml"),
        "--output",
        str(tmp_path / "out"),
        "--device",
        "cpu",
    ]
    assert main([*words, *sizes, *amounts]) == 0
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    dense, spiking = (result["variants"][f"small-{block}"] for block in ("dense", "spiking"))
    for variant in (dense, spiking):
        row = variant["training"]
        assert row["quartile_1"] <= row["seconds"] <= row["quartile_3"]
        assert row["times_matmul"] == pytest.approx(row["seconds"] / row["matmul_seconds"])
        assert row["matmul_seconds"] == pytest.approx(row["matmul_flops"] / result["limits"]["matmul_flops_float32"])
        assert row["samples_per_second"] == pytest.approx(2 / row["seconds"])
        assert row["times_first"] == pytest.approx(row["seconds"] / dense["training"]["seconds"])
        assert row["peak_memory_mb"] > 0
    assert set(result["against_steps"]) == {"small-spiking"}
    assert set(result["against_batch"]["small-dense"]) == {"1", "2"}
    assert set(result["epochs"]) == {"10", "20"}
    assert next(iter(result["temporal_encoders"])) == "BiLSTM"
    for rows in result["lif"]["steps"].values():
        assert rows["fused (ours)"]["equal"] and rows["SpikingJelly"]["equal"]
        for row in rows.values():
            assert row["times_ours"] == pytest.approx(row["seconds"] / rows["fused (ours)"]["seconds"])
    assert "| small-spiking |" in capsys.readouterr().out
    assert (tmp_path / "out" / "figures" / "linear.png").is_file()
    assert main([*words, *sizes, *amounts]) == 2
    assert "is there already" in capsys.readouterr().err
