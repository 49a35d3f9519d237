"""Splits by line, the file that is meant, and what a broken-off extraction goes on with: tiny encoders, tiny videos."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

pytest.importorskip("av")

from media import Piece, write_tracks

from snn_cace.data import ave
from snn_cace.data.labels import Annotation, read_annotations
from snn_cace.encoders.audio import AudioEncoder
from snn_cace.encoders.extract import Settings, Summary, extract, listed_rows, splits
from snn_cace.encoders.finetune import prepare
from snn_cace.encoders.media import content_digests, video_files
from snn_cace.encoders.visual import VisualEncoder
from snn_cace.errors import InputError

CLIPS = 6


class Levels(nn.Module):
    """The pictures themselves, scaled; fails once `left` pictures were seen."""

    def __init__(self, scale: float, left: int | None) -> None:
        super().__init__()
        self.scale, self.left = nn.Parameter(torch.tensor(scale)), left

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        if self.left is not None:
            self.left -= len(pictures)
            if self.left < 0:
                raise KeyboardInterrupt
        return self.scale * pictures


def video(path: Path, number: int, seconds: float = 2) -> None:
    """A clip whose grey is its number."""
    write_tracks(path, [(t / 10, 10 * number + 10) for t in range(round(10 * seconds))], [Piece(0, seconds)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(CLIPS):
        video(videos / f"id{number}.mkv", number)
    lines = [f"{'ab'[number % 2]}&id{number}&good&{number}&{number + 1}\n" for number in range(CLIPS)]
    (videos / "Annotations.txt").write_text("".join(lines))
    return videos


def run(folder: Path, output: str = "out", *, left: int | None = None, **changed: float | str) -> Summary:
    """An extraction with one picture a segment, broken off after `left` of them."""
    network = Levels(float(changed.pop("scale", 1.0)), left)
    visual = VisualEncoder(network, (8, 8), (0.0,) * 3, (1.0,) * 3, grid=1)
    seed = int(changed.pop("seed", 0))
    bias = nn.Linear(1, 2)
    nn.init.constant_(bias.weight, float(changed.pop("sound_scale", 1.0)))
    nn.init.zeros_(bias.bias)
    audio = AudioEncoder(lambda sound: bias(sound.mean(1, keepdim=True)), 2, 8000, bias)
    given = {"videos": str(folder), "annotations": str(folder / "Annotations.txt"), "frames": 1, "dtype": "float32"}
    given |= {"visual": "levels", "visual_weights": None, "audio": "mean", "audio_weights": None}
    return extract(Settings(**(given | changed)), folder.parent / output, visual, audio, 0, seed, quiet=True)  # type: ignore[arg-type]


def broken_off(folder: Path) -> None:
    """Three clips are done, a fourth is not."""
    channels = 1  # pictures seen to know how many channels a map has
    with pytest.raises(KeyboardInterrupt):
        run(folder, left=3 * 10 + channels + 5)
    assert (folder.parent / "out" / ".extract" / "state.raw").read_bytes() == bytes([1, 1, 1, 0, 0, 0])


def replaced(folder: Path, name: str, text: Callable[[str], str]) -> None:
    (folder / name).write_text(text((folder / name).read_text()))


def sorted_anew(folder: Path) -> None:
    replaced(folder, "Annotations.txt", lambda text: "".join(sorted(text.splitlines(keepends=True), reverse=True)))


def another_video(folder: Path) -> None:
    video(folder / "id1.mkv", 17)


def same_size_later(folder: Path) -> None:
    status = (folder / "id1.mkv").stat()
    os.utime(folder / "id1.mkv", ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def split_files(folder: Path) -> None:
    lines = (folder / "Annotations.txt").read_text().splitlines()
    for name, rows in {"train": lines[:4], "val": lines[4:5], "test": lines[5:]}.items():
        (folder / f"{name}Set.txt").write_text("\n".join(rows))


CHANGES: dict[str, tuple[Callable[[Path], object], dict[str, float | str], str]] = {
    "annotations in another order": (sorted_anew, {}, "another text of the annotations;"),
    "another category": (
        lambda folder: replaced(folder, "Annotations.txt", lambda text: text.replace("b&id5", "a&id5")),
        {},
        "another text of the annotations;",
    ),
    "a clip less": (
        lambda folder: replaced(folder, "Annotations.txt", lambda text: text.partition("b&id5")[0]),
        {},
        "another text of the annotations;",
    ),
    "a video that was read": (another_video, {}, "another file id1.mkv;"),
    "a video as large, written later": (same_size_later, {}, "another file id1.mkv;"),
    "a video gone": (lambda folder: (folder / "id2.mkv").unlink(), {}, "another file id2.mkv;"),
    "split files": (split_files, {}, "another content of the split files;"),
    "the visual encoder": (lambda folder: None, {"scale": 2.0}, "another state of the visual encoder;"),
    "the audio encoder": (lambda folder: None, {"sound_scale": 2.0}, "another state of the audio encoder;"),
    "an option": (lambda folder: None, {"frames": 2}, "another frames;"),
    "the seed": (lambda folder: None, {"seed": 1}, "another seed;"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_broken_off_extraction_is_refused_with_anything_else_and_goes_on_with_the_same(name: str, folder: Path):
    broken_off(folder)
    before = shutil.copytree(folder, folder.parent / "before")
    state = {file: file.read_bytes() for file in (folder.parent / "out" / ".extract").iterdir()}
    change, changed, said = CHANGES[name]
    change(folder)
    with pytest.raises(
        InputError, match=f"out holds a broken-off extraction with {said} go on with that as it was, or"
    ):
        run(folder, **changed)
    assert {file: file.read_bytes() for file in (folder.parent / "out" / ".extract").iterdir()} == state
    shutil.rmtree(folder)
    shutil.move(before, folder)
    assert run(folder).clips == CLIPS
    with ave.opened(folder.parent / "out" / "visual_feature.h5") as features:
        np.testing.assert_allclose(255 * features[:, 0, 0, 0, 0], [10, 20, 30, 40, 50, 60], atol=1e-3)


def test_what_decides_nothing_may_change(folder: Path):
    """How the annotations are spelt, and videos that were not read yet."""
    broken_off(folder)
    replaced(folder, "Annotations.txt", lambda text: "\ufeff" + text.replace("&", " & ").replace("\n", "\r\n"))
    video(folder / "id4.mkv", 9)
    Image.new("RGB", (64, 64)).save(folder / "id0.jpg")
    assert run(folder).clips == CLIPS
    with ave.opened(folder.parent / "out" / "visual_feature.h5") as features:
        np.testing.assert_allclose(255 * features[:, 0, 0, 0, 0], [10, 20, 30, 40, 100, 60], atol=1e-3)


def test_an_error_says_why_clips_are_left_out_and_a_mended_folder_is_looked_at_again(folder: Path):
    (folder / "broken").mkdir()
    for file in folder.glob("*.mkv"):
        file.rename(folder / "broken" / file.name)
        file.write_bytes(b"")
    (folder / "id5.mkv").unlink()
    with pytest.raises(InputError, match="no usable clip is left for the train split") as raised:
        run(folder)
    said = str(raised.value)
    assert "0 of 6 are usable" in said and said.endswith("and 3 more") and "\n" not in said
    assert all(f"id{number}: id{number}.mkv: " in said for number in range(3))
    for file in (folder / "broken").iterdir():
        file.rename(folder / file.name)
    (folder / "id3.mkv").unlink()
    split_files(folder)  # all was seen, so other splits are no mixture
    summary = run(folder)
    assert summary.left_out == {"id3": "no such file"} and summary.splits == {"train": 3, "val": 1, "test": 1}
    assert set(summary.notes) == {f"id{number}" for number in (0, 1, 2, 4, 5)}, "what was said before is no longer so"


def test_a_fine_tuning_goes_on_with_the_same_alone(tmp_path: Path):
    one, other = nn.Linear(1, 2), nn.Linear(1, 2)
    annotations = [Annotation("a", "x", "good", 0, 2)]
    decides = {"epochs": 3} | content_digests(annotations, one, None)
    prepare(tmp_path, decides, resume=False)
    prepare(tmp_path, dict(decides), resume=True)
    for changed, said in (
        (content_digests([annotations[0]._replace(end=3)], one, None), "another text of the annotations"),
        (content_digests(annotations, other, None), "another state of the visual encoder"),
        (content_digests(annotations, one, other), "another state of the audio encoder"),
    ):
        with pytest.raises(InputError, match=f"{said}; resume with the same, or start afresh"):
            prepare(tmp_path, decides | changed, resume=True)


SIDECARS: dict[str, tuple[list[str], str | None]] = {
    "the video alone": (["x.mkv"], "x.mkv"),
    "beside its sound": (["x.mkv", "x.nut sound", "x.wav empty"], "x.mkv"),
    "beside pictures": (["x.mkv", "x.gif", "x.jpg", "x.png", "x.webp"], "x.mkv"),
    "beside text": (["x.mkv", "x.vtt", "x.txt", "x.info.json", "x.json"], "x.mkv"),
    "beside one without sound": (["x.avi silent", "x.mkv"], "x.mkv"),
    "without sound, beside sound": (["x.avi silent", "x.nut sound"], "x.avi"),
    "two of them": (["x.mkv", "x.mov"], "x.mkv"),
    "beside a broken one": (["x.avi empty", "x.mkv"], "x.mkv"),
    "a slide with sound, beside sound": (["x.mov slide", "x.aac sound"], "x.mov"),
    "others alone": (["y.mkv"], None),
}


def beside(file: Path, kind: str) -> None:
    """A file of a kind, or what its ending says."""
    if kind == "empty" or file.suffix in (".vtt", ".txt", ".json"):
        file.write_text("")
    elif file.suffix in (".gif", ".jpg", ".png", ".webp"):
        Image.new("RGB", (64, 64)).save(file)
    else:
        pictures = [(t / 10, 10) for t in range({"sound": 0, "slide": 1}.get(kind, 20))]
        sound = [] if kind == "silent" else [Piece(0, 2)]
        codec = ("aac", "fltp") if file.suffix == ".aac" else ("pcm_f32le", "flt")
        write_tracks(file, pictures, sound, *codec)


@pytest.mark.parametrize("name", SIDECARS)
def test_the_file_with_moving_pictures_and_sound_is_the_video(name: str, tmp_path: Path):
    files, meant = SIDECARS[name]
    for entry in [*files, "z.mkv"]:
        file, _, kind = entry.partition(" ")
        beside(tmp_path / file, kind)
    annotations = [Annotation("a", video, "good", 0, 2) for video in ("x", "z")]
    assert video_files(tmp_path, annotations) == [meant and tmp_path / meant, tmp_path / "z.mkv"]


def test_a_video_named_with_its_ending_is_refused_with_the_name_to_write(tmp_path: Path):
    for file in ("one.mp4", "two.mp4"):
        (tmp_path / file).touch()
    one, two, gone = (Annotation("a", video, "good", 0, 2) for video in ("one.mp4", "two", "gone.mp4"))
    assert video_files(tmp_path, [two, gone]) == [tmp_path / "two.mp4", None]
    for listed in ([one], [two, one]):
        with pytest.raises(InputError, match=r"annotations name .*/one\.mp4 with its ending; write one there"):
            video_files(tmp_path, listed)


LINES = ["Bark&v1&good&0&4", "Goat&v1&good&5&9", "Bark&v2&good&0&9", "Goat&v3&good&0&9", "Goat&v3&bad&0&9"]


def split(directory: Path, train: list[str], val: list[str], test: list[str]) -> dict[str, list[int]]:
    (directory / "Annotations.txt").write_text("\n".join(LINES))
    for name, lines in {"train": train, "val": val, "test": test}.items():
        (directory / f"{name}Set.txt").write_bytes("\r\n".join(lines).encode())
    annotations = read_annotations(directory / "Annotations.txt")
    return {
        name: order.tolist()
        for name, order in splits(annotations, np.ones(5, bool), listed_rows(annotations, directory), 0).items()
    }


def test_a_line_of_a_split_file_is_one_row(tmp_path: Path):
    found = split(tmp_path, ["\ufeff" + LINES[0], LINES[2], ""], [f" {LINES[4].replace('&', ' & ')}"], LINES[1:2])
    assert found == {"train": [0, 2], "val": [4], "test": [1]}
    found = split(tmp_path, ["Bark&v2&bad&1&9"], LINES[3:4], LINES[1:2])
    assert found == {"train": [2], "val": [3], "test": [1]}, "the only row of its video"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Bark&v1&good&0&3", r"testSet\.txt, line 2: Bark&v1: 2 annotations have this video, none this line"),
        ("Bark&v9&good&0&4", r"testSet\.txt, line 2: Bark&v9: no annotations have this video"),
        (LINES[2], r"testSet\.txt, line 2: Bark&v2 is in trainSet\.txt already"),
        (LINES[1], r"testSet\.txt, line 2: Goat&v1 is in testSet\.txt already"),
        ("Bark&v2", r"testSet\.txt, line 2: expected Category&"),
    ],
)
def test_a_line_of_a_split_file_that_is_no_row_is_named(line: str, said: str, tmp_path: Path):
    with pytest.raises(InputError, match=said):
        split(tmp_path, [LINES[0], LINES[2]], LINES[3:4], [LINES[1], line])


def test_a_video_that_is_annotated_twice_is_drawn_into_one_split(tmp_path: Path):
    annotations = [Annotation("ab"[row % 2], f"v{row // 2}", "good", 0, 1) for row in range(80)]
    usable = np.arange(80) != 6
    for seed in range(5):
        orders = splits(annotations, usable, listed_rows(annotations, tmp_path), seed)
        assert sorted(np.concatenate(list(orders.values()))) == np.flatnonzero(usable).tolist()
        videos = [{annotations[row].video for row in order} for order in orders.values()]
        assert sum(map(len, videos)) == len(set().union(*videos)) == 40
