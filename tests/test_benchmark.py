"""What a benchmark holds and how its figures hang together; never how fast anything is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import small_experiment

from snn_cace.benchmark.timing import lstm_flops, matmul_flops
from snn_cace.cli import main
from snn_cace.config import as_yaml


def test_a_fused_lstm_s_matrix_products_are_counted_and_a_linear_layer_s():
    """Per row, two operations per weight, and twice as many on the way back; cuDNN hands over its weights in a list."""
    rows, inputs, hidden = 3 * 5, 4, 6
    lstm, linear = torch.nn.LSTM(inputs, hidden, bidirectional=True), torch.nn.Linear(inputs, hidden)
    values = torch.randn(5, 3, inputs, requires_grad=True)
    assert matmul_flops(lambda: lstm(values)[0].sum().backward()) == 3 * 2 * rows * 2 * 4 * hidden * (inputs + hidden)
    assert matmul_flops(lambda: linear(values)) == 2 * rows * inputs * hidden
    weights = [parameter.shape for parameter in lstm.parameters()]
    assert lstm_flops(1)(values.shape, weights, 4) == 2 * rows * 2 * 4 * hidden * (inputs + hidden)


@pytest.mark.slow
def test_a_benchmark_measures_every_variant_and_peer_and_its_ratios_are_those_of_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    for block in ("dense", "braincog", "spiking"):
        experiment = small_experiment(None, block=block)
        experiment.name = {"braincog": "small-original"}.get(block, experiment.name)
        (tmp_path / f"{block}.yaml").write_text(as_yaml(experiment))
    (tmp_path / "compare.yaml").write_text("name: small\nexperiments: [dense.yaml, braincog.yaml, spiking.yaml]\n")
    sizes = "--patches 2 3 --visual-channels 8 --audio-channels 6 --classes 28"
    amounts = "--batch 2 --steps 1 4 --batches 1 2 --clips 10 20 --encoder-batch 2 --epochs 1 --run-clips 30"
    words = ["benchmark", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]
    words += ["--device", "cpu", *sizes.split(), *amounts.split()]
    assert main(words) == 0
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert list(result["training"]) == ["small-dense", "small-original", "small-spiking", "small-original, float64"]
    for row in result["training"].values():
        assert row["quartile_1"] <= row["seconds"] <= row["quartile_3"]
        assert row["times_matmul"] == pytest.approx(row["seconds"] / row["matmul_seconds"])
        assert row["samples_per_second"] == pytest.approx(2 / row["seconds"])
        assert row["times_first"] == pytest.approx(row["seconds"] / result["training"]["small-dense"]["seconds"])
        assert row["peak_memory_mb"] > 0
    assert set(result["inference"]) == {"small-dense", "small-original", "small-spiking"}
    assert set(result["against_steps"]) == {"small-original", "small-spiking"}
    assert set(result["against_batch"]["small-dense"]) == {"1", "2"}
    for variants in (result["against_steps"], result["against_batch"]):
        for number, row in ((number, row) for rows in variants.values() for number, row in rows.items()):
            assert row["peak_memory_mb"] > 0
            assert row["latency"]["samples_per_second"] == pytest.approx(1 / row["latency"]["seconds"])
            batch = int(number) if variants is result["against_batch"] else 2
            assert row["throughput"]["samples_per_second"] == pytest.approx(batch / row["throughput"]["seconds"])
    assert set(result["epochs"]) == set(result["inference"])
    for name, rows in result["epochs"].items():
        assert set(rows) == {"10", "20"}
        alone = 5 * result["training"][name]["seconds"]
        assert rows["10"]["times_steps"] == pytest.approx(rows["10"]["seconds"] / alone)
        assert rows["20"]["peak_memory_mb"] > 0
    assert all(set(places) == {"memory", "mapped", "disk"} for places in result["reading"].values())
    for row in result["parts"].values():
        assert row["gain"] == pytest.approx(row["plain"]["seconds"] / row["ours"]["seconds"])
        assert row["times_least"] == pytest.approx(row["ours"]["seconds"] / row["least_seconds"])
    assert next(iter(result["temporal_encoders"])) == "BiLSTM"
    for rows in result["lif"]["steps"].values():
        assert rows["fused (ours)"]["equal"] and rows["SpikingJelly"]["equal"]
        for row in rows.values():
            assert row["times_ours"] == pytest.approx(row["seconds"] / rows["fused (ours)"]["seconds"])
    assert set(result["whole_runs"]["runs"]) == set(result["training"])
    assert "| small-spiking |" in capsys.readouterr().out
    assert (tmp_path / "out" / "figures" / "linear.png").is_file()
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
