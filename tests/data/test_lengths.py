"""Clips of different lengths from reader to record: what padding holds decides no number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_experiment

from snn_cace.comparison.measurements import measure
from snn_cace.comparison.statistics import paired_difference
from snn_cace.comparison.summary import segment_scores
from snn_cace.config import DataConfig, Experiment, as_dict, from_dict, put_over
from snn_cace.contracts import ClipOutput, FeatureShape
from snn_cace.counting.operations import count_clips, count_operations
from snn_cace.data.readers.base import Layout, Reader
from snn_cace.model import build_network
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.losses import loss_terms, targets_from_labels
from snn_cace.training.run import train

LENGTHS = np.array([5, 3, 4, 1] * 4)


class Ragged(Reader):
    """Sixteen clips of one to five segments, each an event but for the first; padding holds zeros."""

    fill = 0.0

    def __init__(self, config: DataConfig) -> None:
        rows, rng = np.arange(16), np.random.default_rng(0)
        orders = {"train": rows[:8], "val": rows[8:12], "test": rows[12:]}
        self.layout = Layout(16, 5, 1, 2, 5, 4, 3, orders, lengths=LENGTHS)
        padded = np.arange(5) >= LENGTHS[:, None]
        classes = np.repeat(rows[:, None] % 3, 5, 1)
        classes[:, 0] = 3
        classes[padded] = 3
        self.arrays = {"visual": rng.random((16, 5, 1, 2, 5)), "audio": rng.random((16, 5, 4))}
        for values in self.arrays.values():
            values[padded] = self.fill
        self.arrays["labels"] = np.eye(4)[classes]

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        return self.arrays[name][rows]

    def class_names(self) -> list[str]:
        return ["a", "b", "c", "background"]


class Filled(Ragged):
    fill = 7.0


def results(directory: Path, reader: str, **changes: object) -> tuple[dict, dict]:
    """metrics.json and measurements.json of a run in float64."""
    whole = {"data.reader": f"{Path(__file__).stem}:{reader}", "training.precision": 64, "model.contrast.start": 0.0}
    whole |= {"model.slots.feed_forward.block": "spiking", "model.spiking.norm": "batch"} | changes
    experiment = from_dict(put_over(as_dict(small_experiment(None, 2)), whole), Experiment, "test")
    metrics = train(experiment, directory, quiet=True)
    measure(directory)
    return metrics, json.loads((directory / "measurements.json").read_text())


@pytest.mark.parametrize("block", ["spiking", "leaky"])
def test_no_number_of_a_run_depends_on_what_padding_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    own = {"model.slots.temporal_encoder.block": block, "model.slots.temporal_encoder.direction": "bidirectional"}
    own |= {"model.spiking.membrane": "carry"}
    found = [results(tmp_path / name, name, **own) for name in ("Ragged", "Filled")]
    for name in ("val", "test", "activity"):
        assert rounded(found[0][0][name]) == rounded(found[1][0][name])
    for name in ("confusion", "counted", "layers", "network", "anytime"):
        first, second = (json.dumps(rounded(measured.get(name))) for _, measured in found)
        assert first == second, name
    # The test split has 5 + 3 + 4 + 1 segments.
    assert np.sum(found[0][1]["confusion"]) == 13
    scores = segment_scores(RunFiles(tmp_path / "Ragged"))
    assert np.isnan(scores).sum(1).tolist() == [0, 2, 1, 4]
    assert np.nanmean(scores) == pytest.approx(found[0][0]["test"]["segment_accuracy"])


def test_a_causal_classifier_s_spikes_are_those_of_the_clips_own_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    own = {"model.causal": True, "model.slots.event_head.block": "spiking", "model.spiking.threshold": 0.1}
    first, second = (results(tmp_path / name, name, **own)[1] for name in ("Ragged", "Filled"))
    assert rounded(first["layers"]) == rounded(second["layers"])
    assert first["layers"]["head.event.hidden.layer"]["firing_rate"] > 0


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


@pytest.mark.parametrize("reference", [False, True])
def test_losses_are_those_of_the_clips_own_segments(reference: bool):
    """Of two clips with 2 and 4 segments: means over 6 segments, 12 anchors and 2 clips."""
    torch.manual_seed(0)
    lengths = torch.tensor([2, 4])
    labels = torch.eye(3)[torch.tensor([[2, 0, 2, 2], [1, 1, 2, 1]])]
    views = torch.nn.functional.normalize(torch.randn(2, 2, 4, 5), dim=-1)
    whole = ClipOutput(torch.randn(2, 4), torch.randn(2, 2), torch.rand(2, 4), torch.randn(2, 2), *views)
    whole.running_event_logits = torch.randn(2, 4, 2)
    terms = loss_terms(whole, targets_from_labels(labels, lengths=lengths), 0.1, reference)
    alone = []
    for clip, n in enumerate(lengths.tolist()):
        rows = {name: None if v is None else v[clip : clip + 1] for name, v in vars(whole).items()}
        for name in ("segment_relevance", "gate", "query", "key", "running_event_logits"):
            rows[name] = rows[name][:, :n]
        alone.append(loss_terms(ClipOutput(**rows), targets_from_labels(labels[clip : clip + 1, :n]), 0.1, reference))
    for name in ("relevance", "gate", "contrastive"):
        assert terms[name] == pytest.approx(float(2 * alone[0][name] + 4 * alone[1][name]) / 6, rel=1e-5), name
    assert terms["av"] == pytest.approx(float(alone[0]["av"] + alone[1]["av"]) / 2, rel=1e-5)
    counts = (2, 4) if reference else (1, 3)  # of segments whose class counts
    weighted = counts[0] * alone[0]["event"] + counts[1] * alone[1]["event"]
    assert terms["event"] == pytest.approx(float(weighted) / sum(counts), rel=1e-5)


def test_operations_are_the_mean_of_clips_alone():
    experiment = small_experiment(None, block="spiking")
    network = build_network(experiment, FeatureShape(5, 4, 3))
    visual, audio, lengths = torch.rand(2, 5, 1, 2, 5), torch.rand(2, 5, 4), torch.tensor([5, 2])
    both = [count_operations(network, visual[i : i + 1, :n], audio[i : i + 1, :n]) for i, n in enumerate((5, 2))]
    found = count_clips(network, visual, audio, lengths)
    assert found.total.macs == pytest.approx((both[0].total.macs + both[1].total.macs) / 2)
    assert found.total.acs == pytest.approx((both[0].total.acs + both[1].total.acs) / 2)
    assert found.activation_sparsity == pytest.approx(
        sum(m.zeros for one in both for m in one.modules) / sum(m.elements for one in both for m in one.modules)
    )


def test_statistics_leave_padding_out():
    """A segment counts once, whatever the length of its clip: 100 points in three of four."""
    a, b = np.full((2, 2, 3), 100.0), np.array([[[0, 0, 0], [100, 0, 0]]] * 2, float)
    for scores in (a, b):
        scores[:, 1, 1:] = np.nan
    found = paired_difference(a, b)
    assert found["difference"] == pytest.approx(75.0)
    assert found["ci95"][0] >= 0 and found["ci95"][1] <= 100
