"""Spike trains for Neo: when spikes are, and what NIX holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.contracts import FeatureShape
from snn_cace.model import CaceNet
from snn_cace.training.checkpoints import RunFiles, save_checkpoint

pytest.importorskip("neo", reason="the extra [analysis] is not installed")

from snn_cace.analysis.trains import times_of


def test_a_spike_stands_in_the_middle_of_its_step():
    assert times_of(np.array([[1, 0], [0, 2]])).tolist() == [0.25, 1.75, 1.75]


def test_the_verb_writes_nix(tmp_path: Path, capsys: pytest.CaptureFixture):
    import neo

    experiment = small_experiment(write_ave(tmp_path / "ave"), block="spiking")
    experiment.model.slots.feed_forward["block"] = "spiking"
    torch.manual_seed(0)
    network = CaceNet(experiment.model, FeatureShape(8, 6, 3)).eval()
    save_checkpoint(RunFiles(tmp_path / "run").best, network, experiment)
    words = ["spikes", "--quiet", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out")]
    assert main([*words, "--format", "neo"]) == 0
    layers = json.loads((tmp_path / "out" / "spikes.json").read_text())["layers"]
    block = neo.io.NixIO(str(tmp_path / "out" / "spikes.nix"), "ro").read_block()
    assert len(block.segments) == 3 and len(block.segments[0].epochs[0].labels) == 10
    held = {train.annotations["layer"] for train in block.segments[0].spiketrains}
    assert held and held <= layers.keys()
