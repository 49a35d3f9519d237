"""Weights from a trained ANN: what is taken, and how close a converted network comes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import small_experiment, small_model, write_ave

from snn_cace.cli import main
from snn_cace.config import Experiment, SlotConfig
from snn_cace.contracts import FeatureShape
from snn_cace.errors import InputError
from snn_cace.model import CaceNet
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.run import train
from snn_cace.training.transfer import convert, converted_config, initialise, initialise_thresholds

SHAPE = FeatureShape(visual_channels=5, audio_channels=6, classes=3)


def build(seed: int, **blocks: str) -> CaceNet:
    config = small_model()
    for slot, block in blocks.items():
        setattr(config.slots, slot, SlotConfig(block=block))
    torch.manual_seed(seed)
    return CaceNet(config, SHAPE).eval()


def clips(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 10, 2, 3, 5, generator=generator), torch.randn(count, 10, 6, generator=generator)


def test_the_same_network_is_taken_whole():
    source, target = build(0), build(1)
    copied = initialise(target, source)
    assert copied.kept == []
    torch.manual_seed(0)
    want = source(*clips())
    torch.manual_seed(0)
    assert torch.equal(target(*clips()).event_logits, want.event_logits)


def test_spiking_twins_take_the_dense_layers_weights():
    source = build(0)
    spiking = dict.fromkeys(
        ("visual_projection", "temporal_encoder", "feed_forward", "interaction", "event_head"), "spiking"
    )
    target = build(1, **spiking)
    copied = initialise(target, source)
    theirs, mine = source.state_dict(), target.state_dict()
    pairs = {
        "visual_projection.weight": "visual_projection.projection.linear.weight",
        "audio_cross.layers.0.feed_forward.linear1.bias": "audio_cross.layers.0.feed_forward.hidden.linear.bias",
        "audio_cross.layers.0.feed_forward.linear2.weight": "audio_cross.layers.0.feed_forward.output.weight",
        "head.event.weight": "head.event.output.weight",
        "visual_interaction.attention.out_proj.weight": "visual_interaction.attention.output.weight",
        "guidance.picture.channel.weight.weight": "guidance.picture.channel.weight.weight",
    }
    for dense, spiking_name in pairs.items():
        assert torch.equal(theirs[dense], mine[spiking_name]), dense
        assert spiking_name in copied.taken
    rows = theirs["visual_interaction.attention.in_proj_weight"][8:16]
    assert torch.equal(rows, mine["visual_interaction.attention.key.linear.weight"])
    assert all(
        "temporal" in name or "norm" in name or "hidden" in name or "spike_value" in name for name in copied.kept
    )


def test_a_converted_network_approaches_its_ann_as_steps_grow():
    source = build(0).double()
    visual, audio = (x.double() for x in clips())
    with torch.no_grad():
        want = source(visual, audio)
        errors = []
        for steps in (4, 32, 256, 2048):
            config = converted_config(Experiment(model=small_model()), ["feed_forward", "visual_projection"], steps)
            converted = convert(source, config, [(visual, audio)], percentile=100)
            errors.append(float((converted(visual, audio).event_logits - want.event_logits).abs().max()))
    assert errors[3] < errors[2] < errors[1] < errors[0]
    assert errors[3] < 0.01 * float(want.event_logits.abs().max())


def test_learned_thresholds_start_where_the_anns_activations_reach():
    source = build(0)
    config = small_model()
    config.slots.feed_forward = SlotConfig(block="spiking", learn_threshold=True, norm="none", threshold=0.5)
    config.slots.visual_projection = SlotConfig(block="spiking", learn_threshold=True, norm="batch")
    target = CaceNet(config, SHAPE)
    largest = {}
    layer = source.audio_cross.layers[0].feed_forward.linear1
    layer.register_forward_hook(lambda module, args, output: largest.update(seen=float(output.max())))
    started = initialise_thresholds(target, source, [clips()], percentile=100)
    assert len(started) == 6  # two encoder layers and one decoder layer per modality; the batch norm's keeps its own
    gain = target.audio_cross.layers[0].feed_forward.hidden.layer.log_threshold_gain
    assert 0.5 * gain.exp().item() == pytest.approx(largest["seen"], rel=1e-5)
    assert target.visual_projection.projection.layer.log_threshold_gain.item() == 0


def test_a_slot_that_does_not_rectify_or_spikes_already_is_refused():
    with pytest.raises(
        InputError, match="temporal_encoder cannot be converted: only feed_forward and visual_projection"
    ):
        converted_config(Experiment(model=small_model()), ["temporal_encoder"], 4)
    spiking = converted_config(Experiment(model=small_model()), ["feed_forward"], 4)
    with pytest.raises(InputError, match="feed_forward is spiking; convert a network whose feed_forward is dense"):
        converted_config(spiking, ["feed_forward"], 4)


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ann")
    write_ave(root / "ave")
    train(small_experiment(root / "ave", epochs=1), root / "ann", quiet=True)
    return root / "ann"


def test_training_aids_are_options_and_their_terms_are_logged(ann: Path, tmp_path: Path):
    experiment = small_experiment(ann.parent / "ave", epochs=2, block="spiking")
    experiment.training.initialise_from = str(ann)
    experiment.training.distillation.teacher = str(ann)
    experiment.training.firing_rate_weight = 1.0
    experiment.training.surrogate_slope = 3.0
    metrics = train(experiment, tmp_path / "run", quiet=True)
    logged = json.loads((tmp_path / "run" / "history.json").read_text())[-1]
    assert logged["train/distillation"] > 0
    assert logged["train/firing_rate"] >= 0
    assert set(metrics["activity"]) == {"audio_temporal.projection.layer", "visual_temporal.projection.layer"}
    state = torch.load(RunFiles(tmp_path / "run").best, weights_only=True)["state_dict"]
    assert not any("teacher" in key for key in state)


def test_a_teacher_of_other_features_is_refused(ann: Path, tmp_path: Path):
    experiment = small_experiment(None)
    experiment.training.distillation.teacher = str(ann)
    with pytest.raises(InputError, match=r"training\.distillation\.teacher: .* was trained on .*, the data has"):
        train(experiment, tmp_path / "run", quiet=True)


def test_the_convert_verb_makes_a_run_that_evaluates(ann: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["convert", "--checkpoint", str(ann), "--output", str(tmp_path / "out"), "--steps", "64", "--quiet"]
    assert main([*words, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "ann: val segment accuracy" in printed and "converted: val segment accuracy" in printed
    assert main(["evaluate", "--checkpoint", str(tmp_path / "out"), "--split", "val", "--quiet"]) == 0
    assert main([*words, "--device", "cpu"]) == 2
    assert "is not empty" in capsys.readouterr().err
