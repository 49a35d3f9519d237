"""What a benchmark holds and how its figures hang together; never how fast anything is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small import small_experiment

from snn_cace.analysis import stopwatch
from snn_cace.benchmark import breakdown, layers, machine
from snn_cace.benchmark.machine import at_precision, lstm_flops, matmul_flops, product_kind, products
from snn_cace.cli import main
from snn_cace.config import as_yaml


def test_a_fused_lstm_s_matrix_products_are_counted_and_a_linear_layer_s():
    """Per row, two operations per weight, twice as many in the backward pass; cuDNN passes its weights in a list."""
    rows, inputs, hidden = 3 * 5, 4, 6
    lstm, linear = torch.nn.LSTM(inputs, hidden, bidirectional=True), torch.nn.Linear(inputs, hidden)
    values = torch.randn(5, 3, inputs, requires_grad=True)
    assert matmul_flops(lambda: lstm(values)[0].sum().backward()) == 3 * 2 * rows * 2 * 4 * hidden * (inputs + hidden)
    assert matmul_flops(lambda: linear(values)) == 2 * rows * inputs * hidden
    weights = [parameter.shape for parameter in lstm.parameters()]
    assert lstm_flops(1)(values.shape, weights, 4) == 2 * rows * 2 * 4 * hidden * (inputs + hidden)


@pytest.fixture
def tensor_cores_restored() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_every_run_multiplies_in_its_own_precision_whoever_ran_before(tensor_cores_restored: None):
    """float64 has no TF32 and switches it off: a TF32 run after it must have it back."""
    seen = []

    def run() -> None:
        seen.append(torch.backends.cuda.matmul.allow_tf32)

    runs = [at_precision(run, precision, torch.device("cuda")) for precision in ("tf32", "64", "32")]
    for each in (*runs, *runs):
        each()
    assert seen == [True, False, False] * 2


def test_a_training_precision_is_held_against_products_of_its_own_kind():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    precisions = ("32", "tf32", "bf16-mixed", "64")
    assert [product_kind(p, gpu) for p in precisions] == ["float32", "tf32", "bfloat16", "float64"]
    assert [product_kind(p, cpu) for p in precisions] == ["float32", "float32", "float32", "float64"]
    assert set(products(cpu)) == {"float32", "float64"}


@pytest.mark.slow
def test_a_benchmark_measures_every_variant_and_peer_and_its_ratios_are_those_of_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    for what, size in (("SQUARE", 64), ("COPIED", {"cpu": 1 << 16})):
        monkeypatch.setattr(machine, what, size)
    monkeypatch.setattr(layers, "LARGE", {"cpu": 1 << 14})
    monkeypatch.setattr(stopwatch.side_by_side, "__defaults__", (2, 1))  # repeats and warm-up
    monkeypatch.setattr(breakdown, "REPEATS", 1)
    monkeypatch.setattr(stopwatch.timed, "__defaults__", (2,))
    for block in ("dense", "braincog"):
        experiment = small_experiment(None, block=block)
        experiment.name = {"braincog": "small-original"}.get(block, experiment.name)
        experiment.model.slots.feed_forward.block = "dense" if block == "dense" else "spiking"
        (tmp_path / f"{block}.yaml").write_text(as_yaml(experiment))
    (tmp_path / "compare.yaml").write_text("name: small\nexperiments: [dense.yaml, braincog.yaml]\n")
    sizes = "--patches 2 3 --visual-channels 8 --audio-channels 6 --classes 28"
    amounts = "--batch 2 --steps 1 4 --batches 1 2 --clips 10 20 --encoder-batch 2 --epochs 1 --run-clips 30"
    amounts += " --trained-epochs 2 --trained-clips 60"
    words = ["benchmark", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]
    words += ["--device", "cpu", *sizes.split(), *amounts.split()]
    assert main(words) == 0
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert list(result["training"]) == ["small-dense", "small-original", "small-original, float64"]
    for row in result["training"].values():
        assert row["quartile_1"] <= row["seconds"] <= row["quartile_3"]
        assert row["times_matmul"] == pytest.approx(row["seconds"] / row["matmul_seconds"])
        assert row["samples_per_second"] == pytest.approx(2 / row["seconds"])
        assert row["times_first"] == pytest.approx(row["seconds"] / result["training"]["small-dense"]["seconds"])
        assert row["peak_memory_mb"] > 0
    assert set(result["inference"]) == {"small-dense", "small-original"}
    assert set(result["against_steps"]) == {"small-original"}
    assert set(result["against_batch"]["small-dense"]) == {"1", "2"}
    for variants in (result["against_steps"], result["against_batch"]):
        for number, row in ((number, row) for rows in variants.values() for number, row in rows.items()):
            assert row["peak_memory_mb"] > 0
            assert row["latency"]["samples_per_second"] == pytest.approx(1 / row["latency"]["seconds"])
            batch = int(number) if variants is result["against_batch"] else 2
            assert row["throughput"]["samples_per_second"] == pytest.approx(batch / row["throughput"]["seconds"])
    assert set(result["breakdowns"]) == {
        f"{name}, {what}" for name in result["inference"] for what in ("step of 1 clips", "step of 2 clips", "one clip")
    }
    for row in result["breakdowns"].values():
        assert row["times_matmul"] == pytest.approx(row["seconds"] / row["matmul_seconds"])
        assert row["breakdown"]["matrix products"] > 0 and min(row["breakdown"].values()) >= 0
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
    for row in result["lif"]["large"]["steps"].values():
        moved = 5 * 4 * result["lif"]["large"]["neurons"]
        assert row["bytes_per_second"] == pytest.approx(moved / row["seconds"])
    for kinds in result["trained"]["networks"].values():
        assert len(kinds["flushed"]["epoch_seconds"]) == 2
        assert kinds["flushed"]["denormals"] == {}
        for part in ("training", "inference"):
            row = kinds["flushed"][part]
            assert row["ratio"] == pytest.approx(row["trained"]["seconds"] / row["fresh"]["seconds"])
        assert kinds["flushed"]["losses"] == pytest.approx(kinds["computed"]["losses"], rel=1e-4)
    assert set(result["whole_runs"]["runs"]) == set(result["training"])
    assert "| small-original |" in capsys.readouterr().out
    assert (tmp_path / "out" / "figures" / "linear.png").is_file()
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
