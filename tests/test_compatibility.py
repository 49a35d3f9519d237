"""What revision 1bf4550 wrote still loads: run directories and checkpoints.

`tests/golden/comparison-1bf4550.zip` is what that revision's `compare` made of two small experiments, on the data that
`write_ave` writes.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small import write_ave

from snn_cace.config import DataConfig
from snn_cace.data.batches import ClipData
from snn_cace.training.checkpoints import RunFiles, load_checkpoint
from snn_cace.training.evaluation import evaluate_network

STORED = Path(__file__).parent / "golden" / "comparison-1bf4550.zip"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_ave(tmp_path / "ave")
    with zipfile.ZipFile(STORED) as stored:
        stored.extractall(tmp_path)
    return tmp_path / "runs"


@pytest.mark.parametrize("name", ["small-dense", "small-spiking"])
def test_an_old_checkpoint_predicts_what_it_predicted(runs: Path, name: str):
    files = RunFiles(runs / name / "seed-0")
    trained = load_checkpoint(files.directory)
    data = ClipData(DataConfig(directory=str(runs.parent / "ave"), batch_size=4), torch.float32)
    found = evaluate_network(trained.network, data.loader("test"), trained.experiment, torch.device("cpu"), quiet=True)
    with np.load(files.predictions) as stored:
        assert np.array_equal(found.predictions["segment_class"], stored["segment_class"])
        np.testing.assert_allclose(found.predictions["event_logits"], stored["event_logits"], atol=1e-5)
    before = json.loads(files.metrics.read_text())["activity"]
    for layer, activity in found.activity.items():
        assert 0 < activity.firing_rate < 1 and layer in before
