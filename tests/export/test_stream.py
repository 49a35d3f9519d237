"""Streaming: what it says is what whole-clip runs say of the segments so far, at a cost that does not grow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from media import write_video
from small import peer_experiment, settled_network, small_experiment, write_ave
from torch.utils._pytree import tree_leaves

from snn_cace.cli import main
from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.encoders.video import Plan, UnusableVideoError, read_clip, read_segments
from snn_cace.errors import InputError
from snn_cace.export.stream import Stream
from snn_cace.model import build_network
from snn_cace.training.checkpoints import RunFiles, save_checkpoint


def causal(block: str = "spiking", directory: Path | None = None) -> Experiment:
    experiment = small_experiment(directory, block=block)
    experiment.model.causal, experiment.model.window = True, 4
    return experiment


def features(segments: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(segments, 2, 3, 8, generator=generator), torch.randn(segments, 6, generator=generator)


@pytest.mark.parametrize("block", ["dense", "spiking", "braincog"])
def test_each_result_is_that_of_a_whole_run_on_the_segments_so_far(block: str):
    experiment = causal(block)
    network, (visual, audio) = settled_network(experiment), features(12)
    running = Stream(network, experiment)
    results = [running.step(v, a) for v, a in zip(visual, audio, strict=True)]
    running.reset()
    again = [running.step(v, a) for v, a in zip(visual, audio, strict=True)]
    for t, (result, same) in enumerate(zip(results, again, strict=True)):
        with torch.no_grad():
            output = network(visual[None, : t + 1], audio[None, : t + 1])
        assert result.segment == t and result.segment_class == int(output.segment_predictions()[0, -1])
        assert result.confidence == pytest.approx(float(output.segment_confidence()[0, -1]), abs=1e-5)
        np.testing.assert_allclose(result.class_probabilities, output.event_logits[0].softmax(-1), atol=1e-5)
        assert (result.confidence, result.spikes) == (same.confidence, same.spikes)
        assert (result.steps > 0) == (block != "dense")
    assert (sum(result.spikes for result in results) > 0) == (block != "dense")


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("spiking", [False, True])
def test_a_causal_avel_streams_what_a_whole_run_says(weak: bool, spiking: bool):
    experiment = peer_experiment(None, "avel", weak, spiking)
    experiment.model.causal = True
    torch.manual_seed(0)
    network, (visual, audio) = build_network(experiment, FeatureShape(8, 6, 3)).eval(), features(12)
    running = Stream(network, experiment)
    results = [running.step(v, a) for v, a in zip(visual, audio, strict=True)]
    with torch.no_grad():
        output = network(visual[None], audio[None])
    assert [result.segment_class for result in results] == output.segment_predictions()[0].tolist()
    probabilities = np.stack([result.class_probabilities for result in results])
    np.testing.assert_allclose(probabilities, output.segment_logits[0].softmax(-1), atol=1e-5)


def test_what_is_kept_does_not_grow_beyond_the_window():
    experiment = causal()
    running, (visual, audio) = Stream(settled_network(experiment), experiment), features(9)
    kept = []
    for v, a in zip(visual, audio, strict=True):
        running.step(v, a)
        kept.append([values.shape for values in tree_leaves(running.steps[4].kept) if values is not None])
    assert kept == [kept[0]] * 9


def test_early_exit_stops_when_confident_and_carries_membranes_on():
    experiment = causal()
    network, (visual, audio) = settled_network(experiment), features(5)
    always, never = Stream(network, experiment, confidence=0.0), Stream(settled_network(experiment), experiment, 1.0)
    shallow = [always.step(v, a) for v, a in zip(visual, audio, strict=True)]
    deep = [never.step(v, a) for v, a in zip(visual, audio, strict=True)]
    plain = Stream(settled_network(experiment), experiment)
    whole = [plain.step(v, a) for v, a in zip(visual, audio, strict=True)]
    assert [result.steps for result in shallow] == [1] * 5 and [result.steps for result in deep] == [1 + 2 + 4] * 5
    assert [result.confidence for result in deep] == [result.confidence for result in whole]
    experiment.model.spiking.steps = 1
    one = Stream(settled_network(experiment), experiment)
    assert [one.step(v, a).confidence for v, a in zip(visual, audio, strict=True)] == [
        pytest.approx(result.confidence, abs=1e-6) for result in shallow
    ]


def test_what_cannot_stream_is_refused_by_name():
    experiment = causal()
    experiment.model.causal = False
    with pytest.raises(InputError, match=r"small-spiking sees later segments; train it with model.causal: true to"):
        Stream(settled_network(experiment), experiment)
    experiment.model.slots.temporal_encoder["direction"] = "bidirectional"
    with pytest.raises(InputError, match=r"model.causal: true and model.slots.temporal_encoder.direction: forward to"):
        Stream(settled_network(experiment), experiment)
    experiment = causal()
    experiment.model.spiking.coding = "poisson"
    with pytest.raises(InputError, match=r"model.slots.temporal_encoder: poisson coding draws anew"):
        Stream(settled_network(experiment), experiment)
    experiment = causal()
    experiment.model.slots.interaction["block"] = "spiking"
    with pytest.raises(InputError, match=r"--confidence: spiking interaction"):
        Stream(settled_network(experiment), experiment, confidence=0.9)


@pytest.mark.parametrize("seconds", [10.0, 2.6])
def test_a_video_is_read_second_by_second_as_it_is_read_whole(tmp_path: Path, seconds: float):
    video = write_video(tmp_path / "clip.mp4", event=(1, 2), seconds=seconds)
    plan = Plan(frames=2, height=32, width=48, sample_rate=16000, segments=int(np.ceil(seconds)))
    whole = read_clip(video, plan)
    parts = list(read_segments(video, plan))
    assert len(parts) == plan.segments
    np.testing.assert_array_equal(np.stack([pictures for pictures, _ in parts]), whole.pictures)
    np.testing.assert_allclose(np.stack([sound for _, sound in parts]), whole.sound, atol=1e-6)
    with pytest.raises(UnusableVideoError, match="no such file"):
        next(read_segments(tmp_path / "none.mp4", plan))


def test_the_verb_prints_every_segment(tmp_path: Path, capsys: pytest.CaptureFixture):
    experiment = causal(directory=write_ave(tmp_path / "ave"))
    save_checkpoint(RunFiles(tmp_path / "run").best, settled_network(experiment), experiment)
    words = ["stream", "--checkpoint", str(tmp_path / "run")]
    assert main([*words, "--output", str(tmp_path / "out"), "--clips", "2"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 21 and "spikes in 4 steps" in printed[0] and printed[-1].startswith("20 segments, ")
    lines = [json.loads(line) for line in (tmp_path / "out" / "segments.jsonl").read_text().splitlines()]
    assert [line["segment"] for line in lines] == [*range(10)] * 2
    assert [(line["clip"], line["index"]) for line in lines] == [(0, 9)] * 10 + [(1, 10)] * 10
    assert [line["segment_target"] for line in lines] == [3] + [0] * 5 + [3] * 4 + [3] * 2 + [1] * 5 + [3] * 3
    names = ["class 0", "class 1", "class 2", "background"]
    assert all(line["target_name"] == names[line["segment_target"]] for line in lines)
    right = sum(line["segment_class"] == line["segment_target"] for line in lines)
    assert printed[-1].endswith(f"segment accuracy {5 * right:.2f} %")
    assert main([*words, "--clips", "2", "--continuous", "--confidence", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert all(" spikes in 7 of 1 + 2 + 4 steps, is " in line for line in printed[:-1])
    assert " spikes in 7.00 of 1 + 2 + 4 steps a segment, " in printed[-1]
    assert main([*words, "--output", str(tmp_path / "out")]) == 2
    refused = capsys.readouterr()
    assert "segments.jsonl is there already" in refused.err and not refused.out
    assert main([*words, "--video", str(tmp_path / "film.mp4")]) == 2
    assert "has no extraction.json" in capsys.readouterr().err
