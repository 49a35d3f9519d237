"""UnAV-100 on small files in its authors' layout: several events at once, clips of any length."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from neurons import padded
from snn_cace.cli import main
from snn_cace.config import DataConfig, Experiment, read_config
from snn_cace.data.batches import ClipData
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.unav import KINDS, UnavReader
from snn_cace.errors import InputError
from snn_cace.model import build_network
from snn_cace.training.losses import loss_terms, targets_from_labels

CHANNELS = {"rgb": 3, "flow": 3, "vggish": 4}
NAMES = ["singing", "guitar", "siren"]
LENGTHS = [5, 3, 6, 1, 4, 2, 6, 4]
SUBSETS = ["train", "test", "validation", "train", "train", "validation", "test", "Train"]
SMALL = ["--model.d_model", "8", "--model.visual_dim", "8", "--model.attention_dim", "8"]
SMALL += ["--data.workers", "0", "--training.device", "cpu"]


def write_unav(directory: Path) -> dict[str, np.ndarray]:
    """Eight clips of one to six segments, whose middles are 0.48, 0.8, 1.12, 1.44, 1.76 and 2.08 seconds."""
    rng = np.random.default_rng(0)
    (directory / "av_features").mkdir(parents=True)
    database, arrays = {}, {}
    for clip, (length, subset) in enumerate(zip(LENGTHS, SUBSETS, strict=True)):
        for kind, channels in CHANNELS.items():
            longer = length + (clip == 0 and kind == "vggish")  # the sound of clip 0 is a segment longer
            arrays[f"clip{clip}_{kind}"] = rng.random((longer, channels)).astype(np.float32)
            np.save(directory / "av_features" / f"clip{clip}_{kind}.npy", arrays[f"clip{clip}_{kind}"])
        # The first over all the clip, another from 0.5 to 1.13 seconds, of which the middles 0.8 and 1.12 are.
        events = [(0, 0.32 * length + 0.32, clip % 3), (0.5, 1.13, (clip + 1) % 3)][: 1 + (length > 2)]
        listed = [{"segment": [a, b], "label": NAMES[index], "label_id": index} for a, b, index in events]
        database[f"clip{clip}"] = {"duration": 0.32 * length + 0.5, "subset": subset, "annotations": listed}
    write_table(directory, database)
    return arrays


def write_table(directory: Path, database: dict) -> None:
    (directory / "unav100_annotations.json").write_text(json.dumps({"version": "unav100", "database": database}))


def reader_of(directory: Path) -> UnavReader:
    found = open_reader(DataConfig(directory=str(directory), reader="unav"))
    assert isinstance(found, UnavReader)
    return found


def test_clips_have_their_own_lengths_joined_pictures_and_all_events_of_a_segment(tmp_path: Path):
    arrays = write_unav(tmp_path)
    reader = reader_of(tmp_path)
    layout = reader.layout
    assert {split: order.tolist() for split, order in layout.orders.items()} == {
        "train": [0, 3, 4, 7], "val": [2, 5], "test": [1, 6]
    }  # fmt: skip
    assert (layout.segments, layout.lengths.tolist()) == (6, LENGTHS)
    visual, sound = (reader.read(name, np.array([1, 0])) for name in ("visual", "audio"))
    assert visual.shape == (2, 6, 1, 1, 6) and not visual[0, 3:].any()
    assert np.array_equal(visual[0, :3, 0, 0], np.hstack([arrays["clip1_rgb"], arrays["clip1_flow"]]))
    assert np.array_equal(sound[1, :5], arrays["clip0_vggish"][:5])
    labels = reader.read("labels", np.array([0, 3]))
    assert labels[0].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert labels[1].argmax(-1).tolist() == [0, 3, 3, 3, 3, 3]
    assert reader.class_names() == [*NAMES, "background"]


def test_segments_join_and_reach_to_both_ends_of_the_clip(tmp_path: Path):
    write_unav(tmp_path)
    time = reader_of(tmp_path).timeline(1)
    assert time.borders == pytest.approx([0, 0.64, 0.96, 1.46])  # middles 0.48, 0.8 and 1.12; the clip lasts 1.46
    assert time.events == pytest.approx(np.array([[0, 1.28, 1], [0.5, 1.13, 2]]))


@torch.no_grad()
@pytest.mark.parametrize("name", ["ann", "snn"])
def test_a_batch_of_mixed_lengths_equals_its_clips_one_by_one(tmp_path: Path, name: str):
    write_unav(tmp_path)
    changes = {"data.directory": str(tmp_path), "model.d_model": 8, "model.visual_dim": 8, "training.precision": 64}
    experiment = read_config(f"configs/unav/{name}.yaml", Experiment, changes)
    data = ClipData(experiment.data, torch.float64)
    batch = data.dataset("all").__getitems__(range(8))
    network = build_network(experiment, data.shape).double()
    network.enhance = True
    with padded(network, batch["lengths"]):
        network(batch["visual"], batch["audio"])
        network.eval()
        together = network(batch["visual"], batch["audio"])
    terms = loss_terms(
        together, targets_from_labels(batch["labels"], None, batch["lengths"], "multi-label"), 0.1, False
    )
    summed = dict.fromkeys(("event", "av", "relevance"), 0.0)
    for clip, n in enumerate(LENGTHS):
        alone = network(batch["visual"][clip : clip + 1, :n], batch["audio"][clip : clip + 1, :n])
        for what in ("segment_logits", "av_logits", "segment_relevance", "gate"):
            assert torch.allclose(getattr(together, what)[clip, :n], getattr(alone, what)[0], rtol=0, atol=1e-9), what
        own = targets_from_labels(batch["labels"][clip : clip + 1, :n], kind="multi-label")
        of_clip = loss_terms(alone, own, 0.1, False)
        summed = {term: value + n * float(of_clip[term]) for term, value in summed.items()}
    for term, value in summed.items():
        assert float(terms[term]) == pytest.approx(value / sum(LENGTHS), rel=1e-9), term


@pytest.mark.parametrize("name", ["ann", "snn"])
def test_it_is_trained_and_evaluated_by_the_command_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture):
    write_unav(tmp_path / "data")
    run, words = str(tmp_path / "run"), ["--config", f"configs/unav/{name}.yaml", "--data", str(tmp_path / "data")]
    assert main(["train", *words, "--output", run, "--training.epochs", "1", "--quiet", *SMALL]) == 0
    assert re.search(
        r"segment F1 \(micro\), which picked it: val [\d.]+ %, test .*; segment accuracy", capsys.readouterr().out
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"segment_f1_micro", "mean_average_precision_0.5", "event", "av"} <= metrics["test"].keys()
    assert main(["evaluate", "--checkpoint", run, "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    for key, value in metrics["test"].items():
        assert found[key] == pytest.approx(value, rel=1e-5), key
    assert main(["predict", "--checkpoint", run, "--quiet", "--output", str(tmp_path / "predicted")]) == 0
    stored = np.load(tmp_path / "predicted" / "predictions.npz")
    # Test clips 1 and 6 have 3 and 6 segments.
    assert stored["segment_class"].shape == (2, 6, 4) and (stored["segment_class"][0, 3:] == -1).all()
    assert np.array_equal(stored["segment_class"][1, :, :3], stored["segment_logits"][1] > 0)
    assert main(["audit", run, "--output", str(tmp_path / "audit")]) == 0
    assert "note: clips of several lengths were counted as long as the longest" in capsys.readouterr().out
    assert main(["attention", "--checkpoint", run, "--output", str(tmp_path / "attention")]) == 2
    assert "attention names one class a segment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--model.network", "cmran", "--model.guidance", "audio"],
            "model.network: cmran does not take multi-label data; give cace, cmbs",
        ),
        (["--training.supervision", "weak"], "training.supervision: full is what multi-label data needs"),
        (["--model.causal", "true"], "model.causal: false is what multi-label data needs"),
    ],
)
def test_what_does_not_take_several_events_says_so(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture
):
    write_unav(tmp_path)
    config = ["--config", "configs/unav/ann.yaml", "--data", str(tmp_path), "--model.contrast.enabled", "false"]
    assert main(["train", *config, "--output", str(tmp_path / "run"), *SMALL, *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    with pytest.raises(InputError, match=message):
        raise InputError(error)


def test_data_check_counts_every_event_of_a_segment(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_unav(tmp_path)
    assert main(["data", "check", str(tmp_path), "--reader", "unav"]) == 0
    # Clips 0, 3 and 6 are singing all along, 12 segments; 2 alone has it for two more.
    lines = capsys.readouterr().out.splitlines()
    assert "   0 singing                          4     14" in lines
    # Not what pads clips of fewer than six segments.
    assert "background       0.0 % of segments; 0 clips without any event" in lines
    assert not any(line.startswith("late events") for line in lines)


def test_data_check_counts_events_that_begin_after_their_clip(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_unav(tmp_path)
    database = json.loads((tmp_path / "unav100_annotations.json").read_text())["database"]
    clip = list(database)[2]
    described = database[clip]
    late = [described["annotations"][0] | {"segment": [described["duration"] + start, 1e3]} for start in (0.0, 1.0)]
    change(tmp_path, clip, annotations=[*described["annotations"], *late])
    assert main(["data", "check", str(tmp_path), "--reader", "unav"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "late events      2 begin after their clip's end, first in row 2; no segment has them" in lines


def change(directory: Path, clip: str, **changed: object) -> None:
    path = directory / "unav100_annotations.json"
    database = json.loads(path.read_text())["database"]
    database[clip] |= changed
    write_table(directory, database)


def put(directory: Path, name: str, value: np.ndarray) -> None:
    np.save(directory / "av_features" / f"{name}.npy", value)


EVENT = {"segment": [0, 1], "label": "singing", "label_id": 0}
DAMAGE: dict[str, Callable[[Path], object]] = {
    r"json is no JSON of a 'database'": lambda d: (d / "unav100_annotations.json").write_text("{"),
    r"json, clip 'clip1' should have duration, .*label_id 5\.0": lambda d: change(
        d, "clip1", annotations=[EVENT | {"label_id": 5.0}]
    ),
    r"clip 'clip1' should have .*segment \[2, 1\]": lambda d: change(
        d, "clip1", annotations=[EVENT | {"segment": [2, 1]}]
    ),
    r"clip 'clip1' should have .*label_id 0 is 'drums', and 'singing'": lambda d: change(
        d, "clip1", annotations=[EVENT | {"label": "drums"}]
    ),
    r"clip 'clip1' should have .*'dev'": lambda d: change(d, "clip1", subset="dev"),
    r"number its classes from 0 .*not \[0, 1, 2, 7\]": lambda d: change(
        d, "clip1", annotations=[EVENT | {"label": "drums", "label_id": 7}]
    ),
    r"lacks clip2_flow\.npy, and 0 more of 24: extract them": lambda d: (d / "av_features/clip2_flow.npy").unlink(),
    r"clip2_flow\.npy is no file of an array": lambda d: (d / "av_features/clip2_flow.npy").write_bytes(b"no"),
    r"clip2_rgb\.npy holds float64 \[3\]; expected numbers \[t, C\]": lambda d: put(d, "clip2_rgb", np.zeros(3)),
    r"clip2_rgb\.npy is no file of an array: .*Python objects": lambda d: put(d, "clip2_rgb", np.array([{}])),
    r"clip2_vggish\.npy has 5 channels, the first clip's file 4": lambda d: put(d, "clip2_vggish", np.zeros((6, 5))),
    r"clip2_flow\.npy: row 4 holds NaN": lambda d: put(d, "clip2_flow", np.diag([1, 1, 1, 1, np.nan, 1])[:, 3:]),
}


def read_all(directory: Path) -> None:
    data = ClipData(DataConfig(directory=str(directory), reader="unav", keep_in="disk"), torch.float32)
    data.dataset("all").__getitems__(range(8))


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_told_by_file(tmp_path: Path, message: str):
    write_unav(tmp_path)
    DAMAGE[message](tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        read_all(tmp_path)
    assert len(str(raised.value).splitlines()) == 1


def test_files_may_lie_in_the_directory_itself(tmp_path: Path):
    write_unav(tmp_path)
    for clip in range(len(LENGTHS)):
        for kind in KINDS:
            (tmp_path / "av_features" / f"clip{clip}_{kind}.npy").rename(tmp_path / f"clip{clip}_{kind}.npy")
    (tmp_path / "av_features").rmdir()
    assert reader_of(tmp_path).layout.clips == 8
