"""A run is measured in the precision it was trained in; latency says when the machine was busy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import CLASSES, small_experiment, write_ave

from snn_cace.comparison import measurements
from snn_cace.comparison.measurements import measure, measure_latency_and_power, read_measurements
from snn_cace.contracts import FeatureShape
from snn_cace.data.batches import ClipData
from snn_cace.model import CaceNet
from snn_cace.runtime import feature_dtype
from snn_cace.training.checkpoints import RunFiles, save_checkpoint
from snn_cace.training.evaluation import evaluate_network, save_arrays


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("block", ["dense", "spiking"])
def test_a_run_of_either_precision_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, precision: str, block: str
):
    """And its latency, with a note where the machine had other work."""
    experiment = small_experiment(write_ave(tmp_path / "ave"), block=block)
    experiment.training.precision = precision
    dtype, files = feature_dtype(precision), RunFiles(tmp_path / "run")
    network = CaceNet(experiment.model, FeatureShape(8, 6, CLASSES)).to(dtype)
    save_checkpoint(files.best, network, experiment)
    data = ClipData(experiment.data, dtype)
    found = evaluate_network(network, data.loader("test"), experiment, torch.device("cpu"), quiet=True)
    save_arrays(files.predictions, found.predictions)
    measure(files.directory)
    record = read_measurements(files)
    assert record.confusion == found.confusion
    if block == "spiking":
        assert record.spikes is not None
        assert record.spikes.segment_accuracy == pytest.approx(found.segment_accuracy)

    for cores, said in ((0.6, "other programs took 40% of a core meanwhile"), (1.0, "")):
        busy = {str(files.directory): {"seconds": 0.002, "cores": cores}}
        monkeypatch.setattr(measurements, "side_by_side", lambda *_, found=busy: found)
        measure_latency_and_power([[files.directory]])
        assert read_measurements(files).latency_ms == 2
        printed = capsys.readouterr().out
        assert said in printed and (bool(said) or not printed)
