"""Attention maps are the weights that guidance uses; the pointing game by hand, and on digits whose place is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_model

from snn_cace.analysis.attention import AttentionRecord, Pointing, attention_maps, hits, pointing
from snn_cace.cli import main
from snn_cace.comparison.summary import pointing as over_seeds
from snn_cace.config import AVDigitsConfig, DataConfig
from snn_cace.contracts import FeatureShape
from snn_cace.data.avdigits import make_clips, to_pictures
from snn_cace.data.readers import open_reader
from snn_cace.model import CaceNet
from snn_cace.report.attention import RIGHT, WRONG, overlaid, panels

CONFIG = AVDigitsConfig(train_clips=9, val_clips=9, test_clips=18)


def network(guidance: str) -> CaceNet:
    config = small_model()
    config.guidance = guidance  # type: ignore[assignment]
    torch.manual_seed(0)
    return CaceNet(config, FeatureShape(visual_channels=16, audio_channels=48, classes=9)).eval()


def test_maps_are_the_weights_that_guidance_sums_patches_by():
    clips = make_clips(CONFIG, "test")
    visual, audio = torch.from_numpy(clips.visual[:2]), torch.from_numpy(clips.audio[:2])
    net = network("co")
    summed = {}
    for name in ("spatial", "self_spatial"):
        attention = getattr(net.guidance.picture, name)
        attention.register_forward_hook(lambda module, args, out, name=name: summed.update({name: (args[0], out)}))
    found = attention_maps(net, visual, audio)
    for name, (patches, out) in summed.items():
        weights = found[name].flatten(2)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 10))
        torch.testing.assert_close((weights.unsqueeze(-1) * patches).sum(-2), out, atol=1e-5, rtol=1e-4)


def test_the_pointing_game_by_hand():
    weights = torch.tensor([[[0.5, 0.1], [0.3, 0.1]], [[0.1, 0.4], [0.4, 0.1]], [[0.25, 0.25], [0.25, 0.25]]])
    objects = torch.tensor([[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[1, 1], [1, 0]]], dtype=torch.bool)
    assert hits(weights, objects).tolist() == [1.0, 0.5, 0.75]


@pytest.mark.parametrize("guidance", ["none", "visual"])
def test_guidance_that_weighs_all_patches_alike_points_by_chance(guidance: str):
    clips = {name: torch.from_numpy(values) for name, values in make_clips(CONFIG, "test")._asdict().items()}
    wanted = [clips[name] for name in ("visual", "audio", "labels", "places")]
    found = pointing(network(guidance), *wanted)["spatial"]
    assert found.accuracy == pytest.approx(found.chance) == pytest.approx(found.muted)
    assert found.segments == int((clips["labels"][..., -1] == 0).sum())


def test_the_places_are_where_the_class_s_digit_is():
    """Every event segment has one; a clip that shows one digit is bright there and dark elsewhere."""
    clips = make_clips(CONFIG, "test")
    event = clips.labels[..., -1] == 0
    assert clips.places.any((-1, -2))[event].all()
    assert set(clips.places.sum((-1, -2))[event].tolist()) <= {4, 9}
    light = to_pictures(clips.visual).reshape(18, 10, 7, 4, 7, 4).mean((3, 5))
    inside, outside = light[event][clips.places[event]].mean(), light[event][~clips.places[event]].mean()
    assert inside > 4 * outside
    rows = np.arange(18, 36)
    assert np.array_equal(open_reader(DataConfig(avdigits=CONFIG)).places(rows), clips.places)


def test_the_command_draws_clips_and_points(tmp_path: Path, capsys: pytest.CaptureFixture):
    model = ["visual_dim", "attention_dim", "d_model", "encoder_feed_forward", "decoder_feed_forward"]
    words = ["--config", "configs/avdigits/ann.yaml", "--training.epochs", "1", "--quiet"]
    words += [word for name in model for word in (f"--model.{name}", "8")]
    words += [word for split in ("train", "val", "test") for word in (f"--data.avdigits.{split}_clips", "9")]
    runs = {guidance: str(tmp_path / guidance) for guidance in ("co", "none")}
    for guidance, run in runs.items():
        assert main(["train", *words, "--model.guidance", guidance, "--output", run]) == 0
    output = tmp_path / "out"
    command = [
        "attention",
        "--checkpoint",
        runs["co"],
        "--beside",
        runs["none"],
        "--clips",
        "2",
        "--output",
        str(output),
    ]
    assert main(command) == 0
    result = json.loads((output / "attention.json").read_text())
    assert [network["guidance"] for network in result["networks"]] == ["co", "none"]
    assert len(list((output / "figures").glob("clip-*.png"))) == len(result["clips"]) == 2
    assert "| none | by the sound |" in capsys.readouterr().out
    assert main(command) == 2


def test_weights_brighten_what_is_attended_and_green_is_right():
    pictures = np.zeros((2, 4, 4))
    weights = np.zeros((2, 2, 2))
    weights[:, 0, 1] = 0.7
    drawn = overlaid(pictures, weights)
    assert drawn[:, :2, 2:].min() > drawn[:, 2:].max()
    network = {"name": "ann", "weights": weights.tolist(), "predicted": [0, 1]}
    clip = {"truth": [0, 0], "networks": [network]}
    truth, looks = panels(clip, ["bell", "horn"], pictures)
    assert (truth[0], truth[2]) == ("truth", ["bell", "bell"])
    assert looks[2:] == (["bell", "horn"], [RIGHT, WRONG])


def test_a_comparison_s_pointing_is_over_seeds_and_old_ones_have_none():
    first, second = (AttentionRecord("spatial", {"spatial": Pointing(a, 20.0, 10.0, 5)}, []) for a in (50.0, 70.0))
    again = AttentionRecord.from_json(json.loads(json.dumps(asdict(first))))
    assert again == first
    found = over_seeds([first.pointing, second.pointing])
    assert found is not None and found["spatial"]["accuracy"]["mean"] == 60
    assert over_seeds([first.pointing, None]) is None
