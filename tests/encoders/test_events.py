"""Events of a simulated event camera, worked out by hand; and a network that spikes on them from its first layer on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("av")

from media import write_video
from small import small_experiment, write_ave

from snn_cace.cli import main
from snn_cace.commands.stream import segments_of_video
from snn_cace.config import as_yaml
from snn_cace.counting.execution import execute
from snn_cace.counting.operations import count_clips
from snn_cace.data import ave
from snn_cace.data.batches import ClipData
from snn_cace.encoders.events import EventCamera, Pixels
from snn_cace.encoders.visual import visual_encoder
from snn_cace.training.checkpoints import load_checkpoint


def test_pixels_fire_when_log_intensity_has_moved_by_the_threshold():
    """C = 0.2. The left pixel's logarithm is 0, 0.140, 0.262, 0.262, -0.0001 above its first. The reference goes to 0.2
    with the third picture, and back with the last. The right one's is 0, -0.693, -0.693, -0.511, 0, and its reference
    three C down with the second: the fourth is 0.089 above that, the last three C.
    """
    left, right = [100.0, 115.0, 130.0, 130.0, 99.99], [100.0, 50.0, 50.0, 60.0, 100.0]
    events = Pixels()(torch.tensor([left, right]).T.reshape(5, 1, 2))
    on, off = events[:, 0, 0].T.tolist(), events[:, 1, 0].T.tolist()
    assert on == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
    assert off == [[0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]


def test_the_logarithm_is_linear_in_the_dark():
    """log(20) / 20 = 0.150 a level: one level of noise is no event, two are."""
    events = Pixels()(torch.tensor([3.0, 4.0, 3.0, 5.0]).reshape(4, 1, 1))
    assert events[:, 0].flatten().tolist() == [0, 0, 0, 1] and not events[:, 1].any()


def segments(*levels: list[int]) -> torch.Tensor:
    """Pictures `[T, F, 224, 224, 3]` of one grey each, with a pixel of the camera that stays as it is."""
    pictures = torch.tensor(levels, dtype=torch.uint8)[..., None, None, None].repeat(1, 1, 224, 224, 3)
    pictures[:, :, 36:40, 8:12] = 100  # row 9 and column 2 of 56 x 56
    return pictures


def test_a_channel_is_a_time_bin_a_polarity_and_a_pixel_and_the_reference_goes_on_over_segments():
    camera = EventCamera(2)
    pictures = segments([100, 100], [130, 130], [130, 90])
    features = camera.of_segments(pictures)
    assert features.shape == (3, 7, 7, camera.channels) == (3, 7, 7, 2 * 2 * 64)
    found = features.unflatten(-1, (2, 2, 8, 8))  # bin, polarity, row, column
    still = torch.zeros(3, 7, 7, 2, 2, 8, 8)
    still[1, :, :, 0, 0], still[2, :, :, 1, 1] = 1, 1
    still[:, 1, 0, :, :, 1, 2] = 0
    torch.testing.assert_close(found, still)
    one_by_one = [camera.of_segments(one[None], goes_on=number > 0)[0] for number, one in enumerate(pictures)]
    torch.testing.assert_close(torch.stack(one_by_one), features)
    assert not camera.of_segments(pictures[1:2]).any(), "a clip begins anew"


def test_a_still_clip_has_no_event_and_all_others_are_zeros_and_ones():
    pictures = torch.randint(256, (3, 4, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    camera = EventCamera(4)
    assert not camera.of_segments(pictures[:1, :1].expand(3, 4, -1, -1, -1)).any()
    assert set(camera.of_segments(pictures).unique().tolist()) == {0.0, 1.0}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("videos")
    for number in range(6):
        write_video(directory / f"{number}.mp4", (1 + number // 2, 5), size=(48, 64), rate=10, sample_rate=16000)
    lines = [f"{'bell' if number % 2 else 'horn'}&{number}&good&{1 + number // 2}&5\n" for number in range(6)]
    (directory / "Annotations.txt").write_text("".join(lines))
    return directory


def words(videos: Path, output: Path, *options: str) -> list[str]:
    return ["extract", str(videos), "--output", str(output), "--visual", "events", "--dtype", "float16", *options]


def test_from_videos_to_a_network_whose_first_layer_adds(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(words(videos, tmp_path / "ave", "--frames", "2", "--quiet")) == 0
    assert main(["data", "check", str(tmp_path / "ave")]) == 0
    made = json.loads((tmp_path / "ave" / "extraction.json").read_text())
    assert made["settings"]["visual"] == "events" and made["settings"]["visual_weights"] is None
    assert made["encoder_macs_per_clip"]["visual"] == 0 < made["encoder_macs_per_clip"]["audio"]

    experiment = small_experiment(tmp_path / "ave", epochs=1)
    projection = {"block": "spiking", "membrane": "reset", "steps": 2, "coding": "constant"}
    experiment.model.slots.visual_projection.update(projection)
    (tmp_path / "small.yaml").write_text(as_yaml(experiment))
    run = str(tmp_path / "run")
    capsys.readouterr()
    assert main(["train", "--config", str(tmp_path / "small.yaml"), "--output", run]) == 0
    assert "no events" not in capsys.readouterr().out
    write_ave(tmp_path / "analog")
    other = ["train", "--config", str(tmp_path / "small.yaml"), "--data", str(tmp_path / "analog")]
    assert main([*other, "--output", str(tmp_path / "other")]) == 0
    assert "visual features are no events of 0 and 1: the spiking visual_projection multip" in capsys.readouterr().out

    network = load_checkpoint(Path(run)).network
    dataset = ClipData(experiment.data, torch.float32).dataset("train")
    clips = dataset.__getitems__([0, 1])
    events = clips["visual"].sum().item()
    assert set(clips["visual"].unique().tolist()) == {0.0, 1.0} and not clips["visual"][:, 0].any()
    counted = count_clips(network, clips["visual"], clips["audio"]).counted
    for modules in counted.values():
        linear = next(module for module in modules if module.name == "visual_projection.projection.linear").total
        assert linear.macs == 0 and linear.acs == events * experiment.model.visual_dim / 2
    found = execute(network, dataset)
    name = "visual_projection.projection.linear"
    assert found.additions[name] == found.counted[name] > 0 and found.largest_difference < 1e-5

    streamed = segments_of_video(videos / "0.mp4", ClipData(experiment.data, torch.float32), "cpu")
    with ave.opened(tmp_path / "ave" / "visual_feature.h5") as features:
        for segment, (_, seen, *_) in zip(features[0], streamed, strict=True):
            assert seen.tolist() == segment.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "1"], "events are between pictures: --frames must be at least 2, not 1"),
        (["--visual-weights", "x.pth"], "events takes no --visual-weights"),
    ],
)
def test_bad_use_is_one_line(
    options: list[str], message: str, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert main(words(videos, tmp_path / "ave", *options)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "ave" / ".extract").exists()


def test_there_is_nothing_to_tune(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["finetune", str(videos), "--output", str(tmp_path / "out"), "--visual", "events"]) == 2
    assert "events has no weights to tune" in capsys.readouterr().err
    assert not list(visual_encoder("events", None, 2).network.parameters())
