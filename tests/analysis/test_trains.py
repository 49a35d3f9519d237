"""Spike trains: Elephant's measures on trains with known answers, the readout's, and what NIX holds."""

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

pytest.importorskip("elephant", reason="the extra [analysis] is not installed")

from snn_cace.analysis.trains import GROUPS, decoded, measures, runs_of, times_of

STEPS = 4


def test_regular_and_identical_trains():
    """Every second step: intervals of half a second, no variation, all alike."""
    spikes = np.zeros((STEPS, 1, 5, 3))
    spikes[::2] = 1
    found = measures(spikes, np.ones((1, 5), bool))
    assert found["isi_ms"] == pytest.approx(500) and found["cv"] == pytest.approx(0, abs=1e-9)
    assert found["fano"] == pytest.approx(0) and found["correlation"] == pytest.approx(1)
    assert found["synchrony"] == pytest.approx(1)


def test_irregular_trains_by_hand():
    """One neuron at steps 0, 1, 3 of a segment and none of the next: intervals 0.25 and 0.5 s."""
    spikes = np.zeros((STEPS, 1, 2, 2))
    spikes[[0, 1, 3], 0, 0, 0] = 1
    spikes[2, 0, 1, 1] = 1
    found = measures(spikes, np.ones((1, 2), bool))
    assert found["isi_ms"] == pytest.approx(375) and found["cv"] == pytest.approx(0.125 / 0.375)
    assert found["fano"] == pytest.approx(np.mean([np.var([3, 0]) / 1.5, np.var([0, 1]) / 0.5]))
    assert found["correlation"] == pytest.approx(np.corrcoef(spikes[:, 0].transpose(2, 1, 0).reshape(2, -1))[0, 1])


def test_stretches_and_times():
    assert list(runs_of(np.array([True, True, False, True]))) == [(0, 2), (3, 4)]
    assert times_of(np.array([[1, 0], [0, 2]])).tolist() == [0.25, 1.75, 1.75]
    nothing = measures(np.zeros((STEPS, 1, 3, 2)), np.ones((1, 3), bool))
    assert set(nothing.values()) == {None}
    alone = np.zeros((STEPS, 1, 3, 2))
    alone[0, 0, 0, 0] = alone[1, 0, 2, 1] = 1
    found = measures(alone, np.ones((1, 3), bool))
    assert found["synchrony"] is None and found["isi_ms"] is None, "no train has an interval"
    assert found["correlation"] is not None


def test_a_readout_reads_what_has_come_so_far():
    """The first neuron tells the class at step 0, but the class is the second's, which fires at step 1."""
    classes = np.arange(40) % 2
    spikes = np.zeros((2, 40, 2))
    spikes[1, :, 1] = classes
    shown = spikes.cumsum(0)
    assert decoded(shown, classes, shown, classes, 0) == 50 and decoded(shown, classes, shown, classes, 1) == 100


def test_the_verb_writes_measures_and_nix(tmp_path: Path, capsys: pytest.CaptureFixture):
    import neo

    experiment = small_experiment(write_ave(tmp_path / "ave"), block="spiking")
    experiment.model.slots.feed_forward.block = "spiking"
    torch.manual_seed(0)
    network = CaceNet(experiment.model, FeatureShape(8, 6, 3)).eval()
    save_checkpoint(RunFiles(tmp_path / "run").best, network, experiment)
    words = ["spikes", "--quiet", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out")]
    assert main([*words, "--format", "neo"]) == 0
    written = json.loads((tmp_path / "out" / "spikes.json").read_text())["trains"]
    assert written["measures"].keys() == written["information"].keys() >= {"audio_temporal.projection.layer"}
    assert all(set(groups) == set(GROUPS) for groups in written["measures"].values())
    assert all(len(steps) == STEPS for steps in written["information"].values())
    block = neo.io.NixIO(str(tmp_path / "out" / "spikes.nix"), "ro").read_block()
    assert len(block.segments) == 3 and len(block.segments[0].epochs[0].labels) == 10
    held = {train.annotations["layer"] for train in block.segments[0].spiketrains}
    assert held and held <= written["measures"].keys()
