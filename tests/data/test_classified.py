"""CREMA-D and UrbanSound8K-AV on small files in their published layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from snn_cace.config import DataConfig, Experiment, read_config
from snn_cace.data.batches import ClipData
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.classified import held_out, picture, sound
from snn_cace.errors import InputError
from snn_cace.model import build_network

RATE = 8000


def put_clip(image: Path, wave: Path, shade: int) -> None:
    for path in (image, wave):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (shade, 0, 255 - shade)).save(image)
    wavfile.write(wave, RATE, (1000 * np.sin(np.arange(RATE) * shade)).astype(np.int16))


def write_cremad(directory: Path, training: int = 12) -> None:
    """Twelve training clips of two emotions and two test clips, by three actors, three pictures a clip."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for clip in range(training + 2):
        emotion = ("SAD", "ANG")[clip % 2]
        name = f"{1001 + clip % 3}_DFA_{emotion}_{clip:02d}"
        lists["train" if clip < training else "test"].append(f"{name},{emotion}")
        for frame in range(3):
            image = directory / "Image-01-FPS" / name / f"{frame}.jpg"
            put_clip(image, directory / "AudioWAV" / f"{name}.wav", 10 * clip + frame)
    for split, lines in lists.items():
        (directory / f"{split}.csv").write_text("﻿" + "\n".join(lines) + "\n", encoding="utf-8")


def write_urbansound(directory: Path) -> None:
    """Of two classes ten slices each, two of a recording."""
    for name in ("drilling", "siren"):
        for slice_ in range(10):
            stem = f"{100 + slice_ // 2}-4-0-{slice_}"
            image = directory / "Dataset_v3_vision" / name / f"{stem}.jpg"
            put_clip(image, directory / "Dataset_v3_sound" / name / f"{stem}.wav", slice_)


def test_pictures_are_standardised_patches_row_by_row(tmp_path: Path):
    pixels = np.zeros((112, 112, 3), np.uint8)
    pixels[16:32, 32:48, 1] = 255  # green in the patch of row 1, column 2
    Image.fromarray(pixels).save(tmp_path / "a.png")
    patches = picture(tmp_path / "a.png").reshape(7, 7, 256, 3)
    green, black = (1 - 0.456) / 0.224, -0.456 / 0.224
    assert patches[1, 2, :, 1] == pytest.approx(green, rel=1e-6)
    assert np.delete(patches[..., 1].reshape(49, 256), 9, axis=0) == pytest.approx(black, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float32])
def test_sound_is_the_same_of_any_sample_format_and_repeated_until_it_fills_the_time(tmp_path: Path, dtype: type):
    wave = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    full = {np.int16: 32767, np.int32: 2147483647, np.uint8: 127, np.float32: 1}[dtype]
    stored = np.round(wave * full) + 128 if dtype is np.uint8 else wave * full
    wavfile.write(tmp_path / "a.wav", 16000, np.stack([stored, stored], 1).astype(dtype))
    wavfile.write(tmp_path / "b.wav", 16000, np.tile(wave, 3).astype(np.float32))
    found = sound(tmp_path / "a.wav", 3).reshape(8, 64)
    assert (found.argmax(1) == found.argmax(1)[0]).all()
    # The bands that hold the tone; uint8 has a floor of rounding noise elsewhere.
    loud = np.exp(found.max(1))
    assert loud == pytest.approx(np.exp(sound(tmp_path / "b.wav", 3).reshape(8, 64).max(1)), rel=0.02)


def test_cremad_has_splits_of_its_lists_and_actors_as_groups(tmp_path: Path):
    write_cremad(tmp_path)
    reader = open_reader(DataConfig(directory=str(tmp_path), reader="cremad"))
    orders = reader.layout.orders
    # Six training clips of each emotion: a tenth of six, rounded up, is one.
    assert [len(orders[split]) for split in ("train", "val", "test")] == [10, 2, 2]
    assert orders["test"].tolist() == [12, 13]
    assert reader.read("labels", np.array([0, 1]))[:, 0].argmax(-1).tolist() == [2, 5]
    assert reader.class_names()[2] == "sad" and reader.class_names()[-1] == "background"
    actors = reader.recordings(np.arange(5))["actor"]
    assert actors.shape == (5, 1) and actors[0] == actors[3] != actors[1]
    assert reader.source("visual", 0).name == "1.jpg"
    again = open_reader(DataConfig(directory=str(tmp_path), reader="cremad", split_seed=1))
    assert any(
        open_reader(DataConfig(directory=str(tmp_path), reader="cremad", split_seed=seed)).layout.orders["val"].tolist()
        != again.layout.orders["val"].tolist()
        for seed in range(2, 6)
    )


def test_a_recording_is_held_out_as_a_whole(tmp_path: Path):
    write_urbansound(tmp_path)
    reader = open_reader(DataConfig(directory=str(tmp_path), reader="urbansound"))
    orders = reader.layout.orders
    assert orders["test"].tolist() == [7, 8, 9, 17, 18, 19]
    recording = reader.recordings(np.arange(20))["recording"][:, 0]
    assert not {*recording[orders["train"]]} & {*recording[orders["val"]]}
    assert len(orders["val"]) >= 2 and {4, 8} == {*reader.classes[orders["val"]]}


def test_held_out_clips_are_a_tenth_of_each_class_and_never_all():
    classes, units = np.repeat([0, 1, 2], [50, 20, 1]), np.arange(71)
    held = held_out(classes, units, np.ones(71, bool), seed=0)
    assert np.bincount(classes[held], minlength=3).tolist() == [5, 2, 0]
    assert (held == held_out(classes, units, np.ones(71, bool), seed=0)).all()


@pytest.mark.parametrize(("reader", "write"), [("cremad", write_cremad), ("urbansound", write_urbansound)])
def test_the_networks_of_the_configs_classify_clips_of_one_segment(
    tmp_path: Path, reader: str, write: Callable[[Path], None]
):
    write(tmp_path)
    changes = {"data.directory": str(tmp_path), "model.d_model": 8, "model.visual_dim": 8}
    experiment = read_config(f"configs/{reader}/snn.yaml", Experiment, changes)
    data = ClipData(experiment.data, torch.float32)
    batch = data.dataset("train").__getitems__([0, 1])
    output = build_network(experiment, data.shape)(batch["visual"], batch["audio"])
    assert output.segment_relevance.shape == (2, 1) and output.event_logits.shape == (2, data.shape.classes)


DAMAGE: dict[str, Callable[[Path], object]] = {
    r"test\.csv is not readable as a list": lambda d: (d / "test.csv").unlink(),
    r"test\.csv, line 1: expected a new NAME and NEU, .* not \['a', 'JOY'\]": lambda d: (d / "test.csv").write_text(
        "a,JOY\n"
    ),
    r"train\.csv and test\.csv share 1001_DFA_SAD_00": lambda d: (d / "test.csv").write_text("1001_DFA_SAD_00,SAD\n"),
    r"no .*AudioWAV/1001_DFA_SAD_00\.wav, which": lambda d: (d / "AudioWAV/1001_DFA_SAD_00.wav").unlink(),
    r"SAD_00\.wav is no readable WAV file": lambda d: (d / "AudioWAV/1001_DFA_SAD_00.wav").write_bytes(b"RIFF"),
    r"SAD_00/1\.jpg is no readable picture": lambda d: (d / "Image-01-FPS/1001_DFA_SAD_00/1.jpg").write_bytes(b"no"),
}


def read_all(directory: Path) -> None:
    data = ClipData(DataConfig(directory=str(directory), reader="cremad", keep_in="disk"), torch.float32)
    data.dataset("all").__getitems__(range(14))


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_told_by_file(tmp_path: Path, message: str):
    write_cremad(tmp_path)
    DAMAGE[message](tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        read_all(tmp_path)
    assert len(str(raised.value).splitlines()) == 1
