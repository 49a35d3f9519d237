"""LLP on small files in its authors' layout: heard and seen apart, learned from labels of clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_cace.cli import main
from snn_cace.config import DataConfig, Experiment, read_config
from snn_cace.data.batches import ClipData
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.llp import CLASSES, LlpReader
from snn_cace.errors import InputError
from snn_cace.model import build_network
from snn_cace.training.losses import loss_terms, targets_from_labels

C = len(CLASSES)
LABELS = ["Speech,Dog", "Cat", "Dog", "Car,Speech", "Speech", "Cat", "Speech,Cat", "Dog"]
SPLITS = {"train": range(4), "val_pd": range(4, 6), "test_pd": range(6, 8)}
SHAPES = {"vggish": (10, 3), "res152": (80, 4), "r2plus1d_18": (10, 2)}
SMALL = ["--model.d_model", "8", "--model.visual_dim", "8", "--model.attention_dim", "8", "--training.device", "cpu"]


def name_of(clip: int) -> str:
    return f"abcdefghij{clip}_30_40"


def write_llp(directory: Path) -> dict[str, np.ndarray]:
    """Four clips to train, two to validate and two to test; 10 segments each."""
    directory.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for kind, shape in SHAPES.items():
        (directory / kind).mkdir()
        for clip in range(8):
            arrays[f"{kind}{clip}"] = rng.random(shape).astype(np.float32)
            np.save(directory / kind / f"abcdefghij{clip}.npy", arrays[f"{kind}{clip}"])
    for split, clips in SPLITS.items():
        rows = [f"{name_of(clip)}\t{LABELS[clip]}" for clip in clips]
        (directory / f"AVVP_{split}.csv").write_text("\n".join(["filename\tevent_labels", *rows]) + "\n")
    # Clip 6: speech heard in segments 0 to 3 and from 6, a cat seen in 2 and 3; nothing is heard of clip 7.
    events = {
        "audio": [(6, 0, 4, "Speech"), (6, 6, 10, "Speech"), (4, 2, 2, "Speech"), (5, 0, 10, "Cat")],
        "visual": [(6, 2, 4, "Cat"), (7, 0, 10, "Dog"), (4, 1, 3, "Speech")],
    }
    for kind, listed in events.items():
        rows = [f"{name_of(clip)}\t{start}\t{end}\t{label}" for clip, start, end, label in listed]
        table = "\n".join(["filename\tonset\toffset\tevent_labels", *rows, "elsewhere_0_10\t0\t1\tDog"])
        (directory / f"AVVP_eval_{kind}.csv").write_text(table + "\n")
    return arrays


def reader_of(directory: Path) -> LlpReader:
    found = open_reader(DataConfig(directory=str(directory), reader="llp"))
    assert isinstance(found, LlpReader)
    return found


def test_clips_have_what_is_heard_and_what_is_seen_and_joined_pictures(tmp_path: Path):
    arrays = write_llp(tmp_path)
    reader = reader_of(tmp_path)
    assert {split: order.tolist() for split, order in reader.layout.orders.items()} == {
        "train": [0, 1, 2, 3], "val": [4, 5], "test": [6, 7]
    }  # fmt: skip
    visual = reader.read("visual", np.array([3]))
    assert visual.shape == (1, 10, 1, 1, 6)
    assert visual[0, 1, 0, 0, :4] == pytest.approx(arrays["res1523"][8:16].mean(0))
    assert np.array_equal(visual[0, :, 0, 0, 4:], arrays["r2plus1d_183"])
    labels = reader.read("labels", np.array([6, 7, 0]))
    speech, cat, dog = (CLASSES.index(name) for name in ("Speech", "Cat", "Dog"))
    assert labels[0, :, speech].tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 1, 1]
    assert labels[0, :, C + cat].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    assert labels[0, :, -1].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0] and labels[0].sum() == 12
    assert labels[1, :, C + dog].all() and labels[1].sum() == 10
    assert labels[2, :, [speech, dog, C + speech, C + dog]].all() and labels[2].sum() == 40
    assert np.flatnonzero(reader.read("clip_labels", np.array([1]))).tolist() == [cat, C + cat]
    names = reader.class_names()
    assert (names[speech], names[C + speech], names[-1]) == ("heard Speech", "seen Speech", "background")


@pytest.mark.parametrize("name", ["ann", "snn"])
def test_it_is_trained_and_evaluated_by_the_command_line(tmp_path: Path, name: str, capsys: pytest.CaptureFixture):
    write_llp(tmp_path / "data")
    run, words = str(tmp_path / "run"), ["--config", f"configs/llp/{name}.yaml", "--data", str(tmp_path / "data")]
    assert main(["train", *words, "--output", run, "--training.epochs", "1", "--quiet", *SMALL]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {"clip", "audio", "visual", "segment_f1_audio", "event_f1_type"} <= metrics["test"].keys()
    capsys.readouterr()
    assert main(["evaluate", "--checkpoint", run, "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    for key, value in metrics["test"].items():
        assert found[key] == pytest.approx(value, rel=1e-5), key


@torch.no_grad()
def test_training_learns_from_the_labels_of_clips_alone_and_decisions_need_both(tmp_path: Path):
    """A class is heard in a segment where its logit is above 0, and that of the whole clip is."""
    write_llp(tmp_path)
    changes = {"data.directory": str(tmp_path), "model.d_model": 8, "model.visual_dim": 8}
    experiment = read_config("configs/llp/ann.yaml", Experiment, changes)
    data = ClipData(experiment.data, torch.float32, supervision="weak")
    batch = data.dataset("train").__getitems__(range(4))
    output = build_network(experiment, data.shape).eval()(batch["visual"], batch["audio"])
    assert output.segment_logits.shape == (4, 10, 2 * C) and output.clip_logits.shape == (4, 3, C)
    largest = output.segment_logits.topk(experiment.model.top_segments, dim=1).values.mean(1)
    assert torch.allclose(output.clip_logits[:, 1:].flatten(1), largest, atol=1e-6)
    terms = loss_terms(
        output, targets_from_labels(batch["labels"], batch["clip_labels"], kind="by-modality"), 0.1, False
    )
    heard = torch.nn.functional.binary_cross_entropy_with_logits(output.clip_logits[:, 1], batch["clip_labels"][:, :C])
    assert terms["audio"] == pytest.approx(float(heard)) and terms.keys() == {"clip", "audio", "visual"}
    predicted, of_clip = output.segment_predictions(), output.clip_logits[:, 0].repeat(1, 2) > 0
    assert torch.equal(predicted[..., :-1], (output.segment_logits > 0) & of_clip.unsqueeze(1))


def test_other_networks_and_full_supervision_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_llp(tmp_path)
    words = ["train", "--config", "configs/llp/ann.yaml", "--data", str(tmp_path), "--output", str(tmp_path / "run")]
    assert main([*words, "--training.supervision", "full"]) == 2
    assert "training.supervision: weak is what by-modality data needs" in capsys.readouterr().err
    assert main([*words, "--model.network", "cmbs", "--model.guidance", "audio"]) == 2
    assert "model.network: cmbs does not take by-modality data; give cace" in capsys.readouterr().err


def add(directory: Path, table: str, line: str) -> None:
    with (directory / f"AVVP_{table}.csv").open("a") as file:
        file.write(f"{line}\n")


DAMAGE: dict[str, Callable[[Path], object]] = {
    r"AVVP_test_pd\.csv is not readable as a table": lambda d: (d / "AVVP_test_pd.csv").unlink(),
    r"AVVP_train\.csv, line 6: 'Horse' is no class": lambda d: add(d, "train", "new\tSpeech,Horse"),
    r"AVVP_val_pd\.csv, line 4: clip 'abcdefghij1_30_40' is there twice": lambda d: add(
        d, "val_pd", name_of(1) + "\tDog"
    ),
    r"eval_audio\.csv, line 7: expected seconds .*not 'Dog' from 'now' to '2'": lambda d: add(
        d, "eval_audio", f"{name_of(6)}\tnow\t2\tDog"
    ),
    r"res152 lacks abcdefghij0\.npy, and 7 more of 8": lambda d: (d / "res152").rename(d / "resnet"),
    r"res152 lacks abcdefghij2\.npy, and 0 more of 8": lambda d: (d / "res152/abcdefghij2.npy").unlink(),
    r"vggish/abcdefghij2\.npy holds \[9, 3\], the first clip's file \[10, 3\]": lambda d: np.save(
        d / "vggish/abcdefghij2.npy", np.zeros((9, 3))
    ),
    r"res152/abcdefghij2\.npy: row 7 holds NaN": lambda d: np.save(
        d / "res152/abcdefghij2.npy", np.where(np.arange(80) == 7, np.nan, np.ones((4, 80))).T
    ),
}


def read_all(directory: Path) -> None:
    data = ClipData(DataConfig(directory=str(directory), reader="llp", keep_in="disk"), torch.float32)
    data.dataset("all").__getitems__(range(8))


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_told_by_file(tmp_path: Path, message: str):
    write_llp(tmp_path)
    DAMAGE[message](tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        read_all(tmp_path)
    assert len(str(raised.value).splitlines()) == 1
