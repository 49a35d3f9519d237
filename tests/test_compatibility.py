"""What revision 1bf4550 wrote still loads: run directories, checkpoints and a comparison.

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

from snn_cace.cli import main
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


@pytest.mark.usefixtures("undrawn")
def test_an_old_comparison_makes_its_report_and_is_gone_on_with(runs: Path, capsys: pytest.CaptureFixture):
    """No run is trained or measured again: the numbers are those that were stored."""
    before = json.loads((runs / "comparison.json").read_text())
    assert main(["report", "--comparison", str(runs / "comparison.json"), "--output", str(runs / "page")]) == 0
    for config in runs.glob("*/seed-0/config.yaml"):
        text = config.read_text().replace("/tmp/oldrun/ave", str(runs.parent / "ave"))
        config.write_text(text)
        (runs.parent / f"{config.parent.parent.name}.yaml").write_text(text)
    (runs.parent / "compare.yaml").write_text(
        "name: small\nexperiments: [small-dense.yaml, small-spiking.yaml]\nseeds: [0]\n"
    )
    (runs / "comparison.json").unlink()
    words = ["compare", "--config", str(runs.parent / "compare.yaml"), "--output", str(runs)]
    assert main(words) == 0, capsys.readouterr()
    after = json.loads((runs / "comparison.json").read_text())
    for old, new in zip(before["variants"], after["variants"], strict=True):
        for key in ("name", "test_segment_accuracy", "macs", "acs", "energy_mj", "firing_rate", "latency_ms"):
            assert new[key] == old[key], key
