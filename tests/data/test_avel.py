"""VGGSound-AVEL on small files in the layout of CPSP's programs."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from snn_cace.cli import main
from snn_cace.config import DataConfig, Experiment, read_config
from snn_cace.data.batches import ClipData
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.avel import AvelReader
from snn_cace.errors import InputError
from snn_cace.model import build_network

T, CATEGORIES = 4, ["barking", "playing, of drums"]
SPLIT = ["train", "test", "val", "train"]


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}.pkl", pickle.dumps(value))


def write_avel(directory: Path) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    arrays: dict[str, list[np.ndarray]] = {"video": [], "audio": [], "label": []}
    rows = ["category,video_id,split"]
    for clip, split in enumerate(SPLIT):
        rows.append(f'"{CATEGORIES[clip % 2]}",clip{clip},{split}')
        made = {"video": rng.random((T, 2, 2, 5)), "audio": rng.random((T, 6)), "label": np.eye(1, T, clip)}
        for kind, value in made.items():
            put(directory / kind / "zip" / f"clip{clip}.zip", value)
            arrays[kind].append(value)
    (directory / "vggsound-avel100k.csv").write_text("\n".join(rows) + "\n")
    (directory / "VggsoundAVEL100kCategories.txt").write_text("\n".join(CATEGORIES) + "\n")
    return arrays


def reader_of(directory: Path) -> AvelReader:
    found = open_reader(DataConfig(directory=str(directory), reader="avel"))
    assert isinstance(found, AvelReader)
    return found


def test_clips_are_read_in_any_order_with_splits_and_labels_of_the_table(tmp_path: Path):
    arrays = write_avel(tmp_path)
    reader = reader_of(tmp_path)
    assert {split: order.tolist() for split, order in reader.layout.orders.items()} == {
        "train": [0, 3], "val": [2], "test": [1]
    }  # fmt: skip
    assert reader.class_names() == [*CATEGORIES, "background"]
    rows = np.array([3, 1])
    assert np.array_equal(reader.read("visual", rows), np.float32([arrays["video"][3], arrays["video"][1]]))
    # Clip 1 is an event of class 1 in segment 1 alone, clip 3 in segment 3.
    assert reader.read("labels", rows).argmax(-1).tolist() == [[2, 2, 2, 1], [2, 1, 2, 2]]
    assert reader.read("clip_labels", rows).argmax(-1).tolist() == [1, 1]


def test_sound_is_repeated_or_cut_off_and_channels_may_come_first(tmp_path: Path):
    arrays = write_avel(tmp_path)
    put(tmp_path / "audio" / "zip" / "clip1.zip", arrays["audio"][1][:2])
    put(tmp_path / "audio" / "zip" / "clip2.zip", np.concatenate([arrays["audio"][2]] * 2))
    put(tmp_path / "video" / "zip" / "clip2.zip", arrays["video"][2].transpose(0, 3, 1, 2))
    reader = reader_of(tmp_path)
    short, long = reader.read("audio", np.array([1, 2]))
    assert np.array_equal(short, arrays["audio"][1][[0, 1, 1, 1]].astype(np.float32))
    assert np.array_equal(long, arrays["audio"][2].astype(np.float32))
    assert np.array_equal(reader.read("visual", np.array([2]))[0], arrays["video"][2].astype(np.float32))


@pytest.mark.parametrize("name", ["ann", "snn"])
def test_the_networks_of_the_configs_take_it(tmp_path: Path, name: str):
    write_avel(tmp_path)
    changes = {"data.directory": str(tmp_path), "data.workers": 0, "model.d_model": 8, "model.visual_dim": 8}
    experiment = read_config(f"configs/avel/{name}.yaml", Experiment, changes)
    data = ClipData(experiment.data, torch.float32, supervision="weak")
    batch = data.dataset("train").__getitems__([0, 1])
    assert batch["clip_labels"].argmax(-1).tolist() == [0, 1]
    output = build_network(experiment, data.shape)(batch["visual"], batch["audio"])
    assert output.segment_relevance.shape == (2, T) and output.event_logits.shape == (2, 2)


def test_data_check_describes_it_and_names_the_problem(tmp_path: Path, capsys: pytest.CaptureFixture):
    arrays = write_avel(tmp_path)
    assert main(["data", "check", str(tmp_path), "--reader", "avel"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "visual features  [4, 4, 2, 2, 5]" and "train 2, val 1, test 1 of 4 clips" in lines[3]
    assert lines[-2].split()[-2:] == ["2", "2"] and lines[-1] == "no problem found"
    put(tmp_path / "audio" / "zip" / "clip2.zip", arrays["audio"][2] * np.nan)
    assert main(["data", "check", str(tmp_path), "--reader", "avel"]) == 2
    assert "clip2.zip: row 2 holds NaN" in capsys.readouterr().out


class Evil:
    def __reduce__(self) -> tuple:
        return eval, ("1",)  # not print, which Ray replaces


DAMAGE: dict[str, Callable[[Path], object]] = {
    r"holds 0 files \*\.csv": lambda d: (d / "vggsound-avel100k.csv").unlink(),
    r"holds 2 files \*\.csv": lambda d: (d / "other.csv").write_text(""),
    r"csv, line 6: 'hum' is none of the 2 classes": lambda d: add_line(d, "hum,clip9,train"),
    r"csv, line 6: video 'clip1' is there twice": lambda d: add_line(d, "barking,clip1,train"),
    r"csv, line 6: split 'dev' is none of train, val, test": lambda d: add_line(d, "barking,clip9,dev"),
    r"lacks clip9\.zip, and 0 more of 5: extract them": lambda d: add_line(d, "barking,clip9,val"),
    r"clip2\.zip is no zip file of one pickled array: .*builtins\.eval, not": lambda d: put(
        d / "video" / "zip" / "clip2.zip", Evil()
    ),
    r"clip2\.zip is no zip file": lambda d: (d / "audio" / "zip" / "clip2.zip").write_bytes(b"PK"),
    r"clip2\.zip holds \[4, 3, 2, 5\], the first clip \[4, 2, 2, 5\]": lambda d: put(
        d / "video" / "zip" / "clip2.zip", np.zeros((T, 3, 2, 5))
    ),
    r"clip2\.zip: row 2 holds NaN": lambda d: put(d / "audio" / "zip" / "clip2.zip", np.full((T, 6), np.nan)),
    r"clip2\.zip should hold 4 zeros and ones, one a segment, not \[0, 2\]": lambda d: put(
        d / "label" / "zip" / "clip2.zip", np.array([[0, 2]])
    ),
}


def add_line(directory: Path, line: str) -> None:
    with (directory / "vggsound-avel100k.csv").open("a") as file:
        file.write(f"{line}\n")


def read_all(directory: Path) -> None:
    data = ClipData(DataConfig(directory=str(directory), reader="avel", keep_in="disk"), torch.float32)
    data.dataset("all").__getitems__(range(4))


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_told_by_file(tmp_path: Path, message: str, capsys: pytest.CaptureFixture):
    write_avel(tmp_path)
    DAMAGE[message](tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        read_all(tmp_path)
    assert len(str(raised.value).splitlines()) == 1 and not capsys.readouterr().out
