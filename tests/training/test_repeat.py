"""A run repeated from its directory gives every number again, and says what was not the same."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest
import torch
from small import ave_reader, small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.training.run import train


@pytest.mark.parametrize("block", ["dense", "spiking"])
def test_a_run_is_repeated_to_the_last_bit(block: str, tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=2, block=block)
    experiment.training.deterministic = True
    train(experiment, tmp_path / "run", quiet=True)
    torch.use_deterministic_algorithms(False)
    origin = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert origin["threads"] == torch.get_num_threads() and "torch" in origin["environment"]
    assert main(["rerun", str(tmp_path / "run"), "--output", str(tmp_path / "again"), "--quiet"]) == 0
    assert capsys.readouterr().out == "every number is the same, to the last bit\n"
    torch.use_deterministic_algorithms(False)


def test_what_is_not_the_same_is_said(tmp_path: Path, capsys: pytest.CaptureFixture):
    train(small_experiment(write_ave(tmp_path / "ave"), epochs=2), tmp_path / "run", quiet=True)
    with h5py.File(tmp_path / "ave" / "audio_feature.h5", "r+") as file:
        file["avadataset"][0] *= 1.01
    assert main(["rerun", str(tmp_path / "run"), "--output", str(tmp_path / "again"), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "data: other labels, splits or features" in printed
    assert "history: from epoch 0 on" in printed and printed.endswith("the numbers differ\n")
    assert main(["rerun", str(tmp_path / "ave"), "--output", str(tmp_path / "x")]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_a_fingerprint_changes_with_any_label_order_or_shape(tmp_path: Path):
    before = ave_reader(write_ave(tmp_path / "a")).fingerprint()
    assert ave_reader(write_ave(tmp_path / "b")).fingerprint() == before
    with h5py.File(tmp_path / "b" / "train_order.h5", "r+") as file:
        file["order"][:2] = [1, 0]
    assert ave_reader(tmp_path / "b").fingerprint() != before
