"""Real media files to features: alignment, what is amiss with files, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("av")
pytest.importorskip("efficientnet_lite_pytorch")

from media import write_video
from small import small_experiment

from snn_cace.cli import main
from snn_cace.config import as_yaml
from snn_cace.data import ave
from snn_cace.data.check import check_directory
from snn_cace.encoders.archives import unpacked
from snn_cace.encoders.audio import audio_encoder
from snn_cace.encoders.extract import macs_per_clip
from snn_cace.encoders.video import Plan, UnusableVideoError, read_clip
from snn_cace.encoders.visual import visual_encoder

FORMATS = {
    "H.264 with B-frames, 25 fps, 44.1 kHz stereo": {},
    "H.264, 29.97 fps, 16 kHz mono": {"rate": Fraction(30000, 1001), "sample_rate": 16000, "layout": "mono"},
    "MPEG-4, 29.97 fps, 44.1 kHz mono": {
        "codec": "mpeg4",
        "rate": Fraction(30000, 1001),
        "layout": "mono",
        "b_frames": 0,
    },
    "MPEG-4, 25 fps, 16 kHz stereo": {"codec": "mpeg4", "sample_rate": 16000, "b_frames": 0},
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_segment_in_which_something_is_seen_and_heard_is_the_one_that_changes(name: str, tmp_path: Path):
    clip = read_clip(write_video(tmp_path / "x.mp4", event=(3, 6), **FORMATS[name]), Plan(4, 64, 96, 16000))
    assert clip.notes == []
    centre = clip.pictures[:, :, 24:40, 36:60].mean((2, 3, 4))
    power = (clip.sound**2).mean(1)
    expected = [3 <= segment < 6 for segment in range(10)]
    assert (centre > 150).all(1).tolist() == (centre > 150).any(1).tolist() == expected
    assert (power > 0.05).tolist() == expected
    assert power[:3].max() < 1e-4 and power[7:].max() < 1e-4


def test_what_is_amiss_is_noted_and_what_cannot_be_used_is_an_error(tmp_path: Path):
    plan = Plan(2, 32, 32, 16000)
    short = read_clip(write_video(tmp_path / "short.mp4", seconds=6), plan)
    assert [note.split(";")[0] for note in short.notes] == ["pictures end after 6.0 s", "sound ends after 6.0 s"]
    assert (short.pictures[6:] == short.pictures[5, -1]).all() and short.sound[7:].max() == 0
    silent = read_clip(write_video(tmp_path / "silent.mp4", sound=False), plan)
    assert silent.notes == ["no sound: silent"] and silent.sound.max() == 0
    long = read_clip(write_video(tmp_path / "long.mp4", seconds=12), plan)
    assert long.notes == [] and long.pictures.shape == (10, 2, 32, 32, 3)
    (tmp_path / "text.mp4").write_text("no video")
    for file in ("text.mp4", "missing.mp4"):
        with pytest.raises(UnusableVideoError):
            read_clip(tmp_path / file, plan)


def turned(path: Path) -> Path:
    """The file's pictures are to be shown a quarter turn clockwise: its track header's matrix says so."""
    content = path.read_bytes()
    place = content.index(b"tkhd") + 4 + 40  # behind version, times, track, duration, layer, group, volume
    quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:place] + struct.pack(">9i", *quarter) + content[place + 36 :])
    return path


def test_pictures_are_turned_as_the_file_asks(tmp_path: Path):
    """A square in the top left corner of 64 x 96 is in the top right one of 96 x 64."""
    path = write_video(tmp_path / "x.mp4", event=(0, 10), corner=True, sound=False)
    upright = read_clip(path, Plan(1, 64, 96, 16000)).pictures[5, 0, ..., 0]
    assert upright[4:28, 4:44].min() > 150 > upright[36:].max()
    shown = read_clip(turned(path), Plan(1, 96, 64, 16000)).pictures[5, 0, ..., 0]
    assert shown[4:44, 36:60].min() > 150 > shown[:, :28].max()


def test_a_variable_frame_rate_moves_nothing(tmp_path: Path):
    """Every picture of the last five seconds but one in five is left out, and what is seen is seen when it was."""
    kept = [number for number in range(250) if number < 125 or number % 5 == 0]
    path = write_video(tmp_path / "x.mp4", event=(3, 7), frames=kept)
    clip = read_clip(path, Plan(4, 64, 96, 16000))
    assert clip.notes == []
    bright = clip.pictures[:, :, 24:40, 36:60].mean((2, 3, 4)) > 150
    assert bright.all(1).tolist() == bright.any(1).tolist() == [3 <= segment < 7 for segment in range(10)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("videos")
    lines = []
    for number in range(9):
        start = 1 + number % 3
        write_video(directory / f"clip-{number}.mp4", (start, start + 4), size=(48, 64), rate=10, sample_rate=16000)
        lines.append(f"{'bell' if number % 2 else 'horn'}&clip-{number}&good&{start}&{start + 4}\n")
    (directory / "broken.mp4").write_bytes((directory / "clip-0.mp4").read_bytes()[:500])
    lines += ["bell&broken&good&0&10\n", "horn&gone&good&0&10\n"]
    (directory / "Annotations.txt").write_text("".join(lines))
    return directory


def words(videos: Path, output: Path) -> list[str]:
    return ["extract", str(videos), "--output", str(output), "--frames", "1", "--quiet"]


@pytest.fixture(scope="module")
def extracted(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("extracted")
    assert main(words(videos, directory)) == 0
    return directory


def test_a_folder_becomes_a_directory_that_passes_the_check(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert main(words(videos, tmp_path / "ave")) == 0
    printed = capsys.readouterr().out
    assert "left out: broken: " in printed and "left out: gone: no such file" in printed
    assert "9 clips" in printed and "2 left out" in printed
    assert check_directory(tmp_path / "ave").problems == []
    layout = ave.read_layout(tmp_path / "ave")
    assert (layout.clips, layout.height, layout.visual_channels, layout.audio_channels) == (11, 7, 1280, 128)
    assert set(np.concatenate(list(layout.orders.values()))) == set(range(9))
    with (
        ave.opened(tmp_path / "ave" / "audio_feature.h5") as audio,
        ave.opened(tmp_path / "ave" / "labels.h5") as labels,
    ):
        heard, event = audio[:9].mean(-1), labels[:9, :, -1] == 0
    for row in range(9):
        assert heard[row][event[row]].min() > heard[row][~event[row]].max()
    assert main(words(videos, tmp_path / "ave")) == 2
    assert "already" in capsys.readouterr().err


def archived(videos: Path, into: Path, kind: str) -> Path:
    """Videos as AVE is published (`zip`), as its mirror keeps it (`folder`), or as `datasets` writes videos."""
    files = sorted(videos.glob("*.mp4"))
    into.mkdir()
    if kind == "parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        for number, half in enumerate((files[:5], files[5:])):
            rows = [{"bytes": file.read_bytes(), "path": file.name} for file in half]
            parquet.write_table(arrow.table({"video": rows}), into / f"train-{number}.parquet")
    else:
        with zipfile.ZipFile(into / "AVE_Dataset.zip", "w") as opened:
            for file in files:
                opened.write(file, f"AVE_Dataset/AVE/{file.name}")
            if kind == "zip":
                opened.write(videos / "Annotations.txt", "AVE_Dataset/Annotations.txt")
                return into / "AVE_Dataset.zip"
    (into / "annotations.txt").write_bytes((videos / "Annotations.txt").read_bytes())
    (into / "README.md").write_text("a mirror")
    return into


@pytest.mark.parametrize("kind", ["zip", "folder", "parquet"])
def test_archives_of_videos_give_the_bytes_that_their_folder_gives(
    kind: str, videos: Path, extracted: Path, tmp_path: Path
):
    assert main(words(archived(videos, tmp_path / "mirror", kind), tmp_path / "archive")) == 0
    for name in ("visual_feature.h5", "audio_feature.h5", "labels.h5", "test_order.h5", "Annotations.txt"):
        assert (extracted / name).read_bytes() == (tmp_path / "archive" / name).read_bytes()
    assert not (tmp_path / "archive" / ".extract").exists()


def test_damaged_archives_are_one_line_and_leave_nothing(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    archive = archived(videos, tmp_path / "zip", "zip")
    whole = archive.read_bytes()
    table = sorted(archived(videos, tmp_path / "parquet", "parquet").glob("*.parquet"))[0]
    rows = bytearray(table.read_bytes())
    rows[4:200] = bytes(196)
    table.write_bytes(rows)
    torn = tmp_path / "torn.zip"
    torn.write_bytes(whole[: len(whole) // 2])
    altered = tmp_path / "altered.zip"
    altered.write_bytes(whole[:2000] + bytes(50) + whole[2050:])
    for source in (torn, altered, table, tmp_path / "none.zip"):
        assert main([*words(source, tmp_path / "out"), "--annotations", str(videos / "Annotations.txt")]) == 2
        said = capsys.readouterr().err
        assert source.name in said and "unexpected" not in said and said.count("\n") == 1
        assert not (tmp_path / "out" / ".extract").exists()


def test_texts_beside_an_archive_are_read_anew(videos: Path, tmp_path: Path):
    archive = archived(videos, tmp_path / "mirror", "folder")
    (archive / "notes.txt").write_text("of something else")
    for content in ("before", "after"):
        (archive / "trainSet.txt").write_text(content)
        assert (unpacked(archive, tmp_path / "out") / "trainSet.txt").read_text() == content
    assert not (tmp_path / "out" / "notes.txt").exists() and (tmp_path / "out" / "Annotations.txt").is_file()


@pytest.mark.slow
def test_a_killed_extraction_goes_on_and_gives_the_same_bytes(videos: Path, extracted: Path, tmp_path: Path):
    command = [sys.executable, "-m", "snn_cace", *words(videos, tmp_path / "cut")]
    process = subprocess.Popen(command, start_new_session=True)
    state = tmp_path / "cut" / ".extract" / "state.raw"
    while process.poll() is None and not (state.is_file() and state.read_bytes().count(1) >= 2):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 2 <= state.read_bytes().count(1) < 9
    (tmp_path / "cut" / "labels.h5").write_bytes(b"")  # as if killed while it wrote the files
    assert main([*words(videos, tmp_path / "cut"), "--dtype", "float16"]) == 2
    assert main(words(videos, tmp_path / "cut")) == 0
    for name in ("visual_feature.h5", "audio_feature.h5", "labels.h5", "train_order.h5"):
        assert (extracted / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--visual", "no-such-net"], "no visual encoder no-such-net"),
        (["--visual", "resnet18"], "bring its state dict"),
        (["--audio", "vggish"], "vggish needs --audio-weights"),
        (["--annotations", "/nowhere.txt"], "no annotations file"),
    ],
)
def test_bad_input_is_one_line(options: list[str], message: str, videos: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment once
    assert main([*words(videos, tmp_path / "ave"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "ave" / "visual_feature.h5").exists()


def test_attention_is_drawn_over_the_videos_pictures(videos: Path, extracted: Path, tmp_path: Path):
    """Where the square appears, the picture brightens."""
    experiment = small_experiment(extracted, epochs=1)
    (tmp_path / "small.yaml").write_text(as_yaml(experiment))
    run = str(tmp_path / "run")
    assert main(["train", "--config", str(tmp_path / "small.yaml"), "--output", run, "--quiet"]) == 0
    attention = ["attention", "--checkpoint", run, "--videos", str(videos), "--output", str(tmp_path / "out")]
    assert main([*attention, "--clips", "1", "--split", "train"]) == 0
    clip = json.loads((tmp_path / "out" / "attention.json").read_text())["clips"][0]
    event = np.array(clip["truth"]) < 2
    bright = np.array(clip["pictures"]).mean((1, 2, 3))
    assert bright[event].min() > bright[~event].max() + 0.05


def test_what_the_default_encoders_multiply():
    """EfficientNet-Lite0 takes 383.9 M MACs a picture, at ten pictures a clip; statistics of sound take hardly any."""
    visual, audio = visual_encoder(), audio_encoder()
    macs = macs_per_clip(Plan(1, *visual.size, audio.sample_rate), visual, audio)
    assert macs["visual"] == pytest.approx(10 * 383.9e6, rel=1e-3)
    assert macs["audio"] < 0.01 * macs["visual"]


@pytest.mark.slow
def test_an_extraction_that_is_killed_takes_the_processes_that_decode_with_it(tmp_path: Path):
    (tmp_path / "videos").mkdir()
    for number in range(12):
        write_video(tmp_path / "videos" / f"{number}.mp4", (1, 4), size=(48, 64), rate=10, sample_rate=16000)
    lines = "".join(f"{'ab'[number % 2]}&{number}&good&1&4\n" for number in range(12))
    (tmp_path / "videos" / "Annotations.txt").write_text(lines)
    words = ["extract", str(tmp_path / "videos"), "--output", str(tmp_path / "out"), "--workers", "2", "--quiet"]
    main = subprocess.Popen([sys.executable, "-m", "snn_cace", *words])
    children: list[psutil.Process] = []
    for _ in range(600):
        children = psutil.Process(main.pid).children(recursive=True)
        if len(children) >= 4:  # a fork server and its tracker, and two that decode
            break
        time.sleep(0.1)
    main.kill()
    main.wait()
    assert len(children) >= 4
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
