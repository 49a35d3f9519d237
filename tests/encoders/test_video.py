"""One clock for pictures and sound, the plain mean of channels, upright pictures and the stream that is meant.

Expected values are worked out by hand: the picture that begins at second t is of grey 10 t, in steps of a tenth.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import reduce
from math import cos, pi, sin
from operator import or_
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av")

import av
from av.stream import Disposition
from media import Piece, write_tracks, write_video

from snn_cace.encoders.video import Plan, UnusableVideoError, chosen, read_clip, read_segments

PLAN = Plan(frames=2, height=32, width=32, sample_rate=8000, segments=4)


def steps(start: float, end: float, later: float = 0.0) -> list[tuple[float, int]]:
    """A picture each tenth of a second, its grey ten times its time; all of it `later`."""
    return [(tenth / 10 + later, tenth) for tenth in range(round(10 * start), round(10 * end))]


@dataclass
class Case:
    """What a file holds, and what is seen at 0.25 s, 0.75 s, ... of its clip, heard in each segment, and noted."""

    pictures: list[tuple[float, int]]
    sound: list[Piece]
    seen: list[int]
    heard: list[float]
    notes: list[str] = field(default_factory=list)
    suffix: str = ".mkv"


ALL = [2, 7, 12, 17, 22, 27, 32, 37]
CASES = {
    "from zero on": Case(steps(0, 4), [Piece(0, 4)], ALL, [0.5] * 4),
    "pictures late": Case(
        steps(2, 4),
        [Piece(0, 4)],
        [20, 20, 20, 20, 22, 27, 32, 37],
        [0.5] * 4,
        ["no pictures from 0.0 s to 2.0 s; the first one stands"],
    ),
    "pictures late, by an edit list": Case(
        steps(2, 4),
        [Piece(0, 4)],
        [20, 20, 20, 20, 22, 27, 32, 37],
        [0.5] * 4,
        ["no pictures from 0.0 s to 2.0 s; the first one stands"],
        ".mov",
    ),
    "sound late": Case(
        steps(0, 4), [Piece(1.5, 2.5)], ALL, [0, 0.25, 0.5, 0.5], ["no sound from 0.0 s to 1.5 s; silent"]
    ),
    "both late: the clip begins with the earlier": Case(steps(0, 4, 3), [Piece(3, 4)], ALL, [0.5] * 4),
    "before zero": Case(steps(0, 4, -1), [Piece(-1, 4)], ALL, [0.5] * 4),
    "sound before zero alone": Case(
        steps(0, 3),
        [Piece(-1, 4)],
        [0, 0, 2, 7, 12, 17, 22, 27],
        [0.5] * 4,
        ["no pictures from 0.0 s to 1.0 s; the first one stands"],
    ),
    "before zero, cut by an edit list": Case(
        steps(0, 5, -1), [Piece(-1, 5)], [12, 17, 22, 27, 32, 37, 42, 47], [0.5] * 4, suffix=".mov"
    ),
    "gaps": Case(
        steps(0, 1) + steps(2, 4),
        [Piece(0, 1.5), Piece(2.5, 1.5, [-0.25])],
        [2, 7, 9, 9, 22, 27, 32, 37],
        [0.5, 0.25, -0.125, -0.25],
        ["no pictures from 1.0 s to 2.0 s; the last one stands", "no sound from 1.5 s to 2.5 s; silent"],
    ),
    "gaps too short to tell": Case(
        steps(0, 1) + steps(1.4, 4),
        [Piece(0, 1), Piece(1.25, 2.75)],
        [2, 7, 9, 17, 22, 27, 32, 37],
        [0.5, 0.375, 0.5, 0.5],
    ),
    "sound over sound: what was there first": Case(
        steps(0, 4), [Piece(0, 2), Piece(1.75, 2.25, [0.25])], ALL, [0.5, 0.5, 0.25, 0.25]
    ),
    "timestamps a millisecond off": Case(
        steps(0, 4), [Piece(second + (second % 2) / 1000, 1) for second in range(4)], ALL, [0.5] * 4
    ),
    "short": Case(
        steps(0, 2.5),
        [Piece(0, 1.5)],
        [2, 7, 12, 17, 22, 24, 24, 24],
        [0.5, 0.25, 0, 0],
        ["pictures end after 2.5 s; the last one stands for the rest", "sound ends after 1.5 s; the rest is silent"],
    ),
    "a gap behind the clip": Case(steps(0, 4) + steps(6, 7), [Piece(0, 4), Piece(6, 1)], ALL, [0.5] * 4),
    "silent": Case(steps(0, 4), [], ALL, [0] * 4, ["no sound: silent"]),
}


@pytest.mark.parametrize("name", CASES)
def test_pictures_and_sound_lie_where_their_timestamps_say(name: str, tmp_path: Path):
    case = CASES[name]
    file = write_tracks(tmp_path / f"x{case.suffix}", case.pictures, case.sound)
    clip = read_clip(file, PLAN)
    assert clip.pictures[..., 0, 0, 0].ravel().tolist() == case.seen
    np.testing.assert_allclose(clip.sound.mean(1), case.heard, atol=2e-3)
    assert clip.notes == case.notes
    streamed = list(read_segments(file, PLAN))[: PLAN.segments]
    assert all(np.array_equal(clip.pictures[t], pictures) for t, (pictures, _) in enumerate(streamed))
    assert all(np.array_equal(clip.sound[t], sound) for t, (_, sound) in enumerate(streamed))


def test_a_stream_lasts_until_both_have_ended_and_says_what_was_missing(tmp_path: Path):
    notes: list[str] = []
    file = write_tracks(tmp_path / "x.mkv", steps(0, 1), [Piece(0, 1), Piece(3, 2.25)])
    segments = list(read_segments(file, PLAN, notes))
    assert [pictures[-1, 0, 0, 0] for pictures, _ in segments] == [7, 9, 9, 9, 9], "a quarter of a second makes none"
    assert [round(float(sound.mean()), 3) for _, sound in segments] == [0.5, 0, 0, 0.5, 0.5]
    assert sorted(notes) == [
        "no sound from 1.0 s to 3.0 s; silent",
        "pictures end after 1.0 s; the last one stands for the rest",
    ]


def transport_stream(path: Path, start: float, level: float, rate: int, layout: str, grey: int) -> bytes:
    """Two seconds of it."""
    levels = [level] * (2 if layout == "stereo" else 1)
    pictures = [(start + 0.04 * number, grey) for number in range(50)]
    sound = [Piece(start, 2, levels, rate, layout)]
    return write_tracks(path, pictures, sound, codec="mp2", sample_format="s16").read_bytes()


def test_rate_and_channels_may_change_midway(tmp_path: Path):
    """Two recordings in one stream; what is behind goes on, and what goes back in time is left out with a note."""
    first = transport_stream(tmp_path / "a.ts", 0, 0.25, 48000, "stereo", 100)
    second = transport_stream(tmp_path / "b.ts", 2, 0.5, 44100, "mono", 200)
    (tmp_path / "on.ts").write_bytes(first + second)
    clip = read_clip(tmp_path / "on.ts", PLAN)
    assert clip.notes == []
    np.testing.assert_allclose(clip.pictures[..., 0, 0, 0], [[100, 100]] * 2 + [[200, 200]] * 2, atol=2)
    np.testing.assert_allclose(clip.sound[:, 1000:].mean(1), [0.25, 0.25, 0.5, 0.5], atol=2e-3)
    (tmp_path / "back.ts").write_bytes(first + transport_stream(tmp_path / "c.ts", 0, 0.5, 44100, "mono", 200))
    clip = read_clip(tmp_path / "back.ts", PLAN)
    np.testing.assert_allclose(clip.pictures[..., 0, 0, 0], 100, atol=2)
    np.testing.assert_allclose(clip.sound[:, 1000:].mean(1), [0.25, 0.25, 0, 0], atol=2e-3)
    assert [note.split(" after")[0] for note in clip.notes] == [
        "timestamps of pictures go back", "pictures end", "timestamps of sound go back", "sound ends",
    ]  # fmt: skip


LEVELS = {
    "mono": [0.5],
    "stereo": [0.75, -0.25],
    "3 channels": [0.75, 0.25, -0.25],
    "5.1": [0.75, 0.75, 0.75, -0.75, 0.75, 0.75],
    "7.1": [0.75, 0.75, 0.75, 0.75, -0.5, 0.25, -0.5, 0.25],
}
"""Means: 0.5, 0.25, 0.25, 0.5, 0.3125."""


@pytest.mark.parametrize("layout", LEVELS)
@pytest.mark.parametrize(
    ("codec", "sample_format"),
    [
        ("pcm_u8", "u8"),
        ("pcm_s16le", "s16"),
        ("pcm_s32le", "s32"),
        ("pcm_f32le", "flt"),
        ("pcm_f64le", "dbl"),
        ("pcm_s64le", "s64"),
        ("wavpack", "u8p"),
        ("wavpack", "s16p"),
        ("wavpack", "s32p"),
        ("wavpack", "fltp"),
    ],
)
def test_channels_are_averaged_whatever_the_format(layout: str, codec: str, sample_format: str, tmp_path: Path):
    """The last one is of eight planes, which PyAV's own array of them reads past."""
    if codec == "wavpack" and layout == "3 channels":
        pytest.skip("WavPack has no unnamed layouts")
    sound = [Piece(0, 1, LEVELS[layout], 48000, layout)]
    file = write_tracks(tmp_path / "x.nut", steps(0, 1), sound, codec, sample_format)
    heard = read_clip(file, Plan(1, 32, 32, 16000, 1)).sound
    np.testing.assert_allclose(heard, np.mean(LEVELS[layout]), atol=6e-3 if "u8" in sample_format else 1e-4)


def test_sound_stays_within_one(tmp_path: Path):
    file = write_tracks(tmp_path / "x.mkv", steps(0, 2), [Piece(0, 1, [1.5]), Piece(1, 1, [-1.5])])
    heard = read_clip(file, Plan(1, 32, 32, 16000, 2)).sound
    assert (heard.min(), heard.max()) == (-1, 1)


TURN = (cos(pi / 6), sin(pi / 6), -sin(pi / 6), cos(pi / 6))
ORIENTATIONS = {
    "as it is": ((1, 0, 0, 1), "ab cd"),
    "mirrored": ((-1, 0, 0, 1), "ba dc"),
    "upside down": ((-1, 0, 0, -1), "dc ba"),
    "upside down and mirrored": ((1, 0, 0, -1), "cd ab"),
    "a quarter clockwise": ((0, 1, -1, 0), "ca db"),
    "a quarter counterclockwise": ((0, -1, 1, 0), "bd ac"),
    "mirrored at the falling diagonal": ((0, 1, 1, 0), "ac bd"),
    "mirrored at the rising diagonal": ((0, -1, -1, 0), "db ca"),
    "upside down, mirrored and scaled": ((2, 0, 0, -0.5), "cd ab"),
    "scaled to nothing": ((0, 0, 0, 0), "ab cd"),
    "30 degrees": (TURN, "ab cd"),
    "30 degrees, mirrored": ((-TURN[0], TURN[1], TURN[2], TURN[3]), "ba dc"),
}
"""The display matrix's linear part, and how the quarters ab over cd are then shown."""


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_pictures_are_shown_as_the_display_matrix_says(name: str, tmp_path: Path):
    (a, b, c, d), shown = ORIENTATIONS[name]
    grey = {"a": 20, "b": 80, "c": 140, "d": 200}
    quarters = np.kron([[grey["a"], grey["b"]], [grey["c"], grey["d"]]], np.ones((16, 16)))[..., None]
    path = write_tracks(tmp_path / "x.mov", [(t / 10, quarters) for t in range(40)], [])
    content = path.read_bytes()
    place = content.index(b"tkhd") + 4 + 40  # behind version, times, track, duration, layer, group, volume
    matrix = [round(65536 * value) for value in (a, b, 0, c, d, 0, 0, 0)]
    path.write_bytes(content[:place] + struct.pack(">9i", *matrix, 1 << 30) + content[place + 36 :])
    clip = read_clip(path, PLAN)
    picture = clip.pictures[0, 0, ..., 0]
    found = [[picture[y, x] for x in (8, 24)] for y in (8, 24)]
    assert found == [[grey[quarter] for quarter in row] for row in shown.split()]
    oblique = ["pictures are turned obliquely; shown to the nearest quarter turn"] if "30" in name else []
    assert clip.notes == [*oblique, "no sound: silent"]


def stream(*dispositions: str, frames: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        disposition=reduce(or_, (Disposition[name] for name in dispositions), Disposition(0)), frames=frames
    )


@pytest.mark.parametrize(
    ("streams", "place"),
    [
        ([stream(), stream()], 0),
        ([stream(), stream("default")], 1),
        ([stream("attached_pic"), stream()], 1),
        ([stream("default", "attached_pic"), stream("timed_thumbnails", "attached_pic"), stream("default")], 2),
        ([stream("still_image"), stream(), stream()], 1),
        ([stream("default", frames=1), stream(frames=250)], 1),
        ([stream("comment"), stream("default", "original")], 1),
        ([stream("attached_pic")], None),
        ([], None),
    ],
)
def test_the_stream_that_is_meant_is_chosen(streams: list[SimpleNamespace], place: int | None):
    assert chosen(streams) is (None if place is None else streams[place])


def test_covers_and_stills_are_no_clips(tmp_path: Path):
    with av.open(str(tmp_path / "cover.m4a"), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 32, 32, "rgb24", Disposition.attached_pic.value
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*sound.encode(frame), *sound.encode(None)])
    with pytest.raises(UnusableVideoError, match="no picture but a still one"):
        read_clip(tmp_path / "cover.m4a", PLAN)
    with pytest.raises(UnusableVideoError, match="a still picture without sound"):
        read_clip(write_tracks(tmp_path / "still.mkv", [(0, 7)], []), PLAN)
    slide = read_clip(write_tracks(tmp_path / "slide.mkv", [(0, 7)], [Piece(0, 4)]), PLAN)
    assert (slide.pictures == 7).all() and len(slide.notes) == 1
    with pytest.raises(UnusableVideoError, match="no picture"):
        read_clip(write_tracks(tmp_path / "sound.mkv", [], [Piece(0, 4)]), PLAN)


def test_damage_midway_is_noted_by_clips_and_streams(tmp_path: Path):
    content = bytearray(write_video(tmp_path / "x.mp4", codec="mpeg4", b_frames=0).read_bytes())
    clip_notes, stream_notes = [], []
    start = content.index(b"mdat") + len(content) // 2
    content[start : start + 200] = bytes(200)
    (tmp_path / "x.mp4").write_bytes(content)
    clip_notes = read_clip(tmp_path / "x.mp4", Plan(2, 32, 32, 8000)).notes
    list(read_segments(tmp_path / "x.mp4", Plan(2, 32, 32, 8000), stream_notes))
    assert any("damaged after" in note for note in clip_notes)
    assert sorted(note for note in stream_notes if "damaged" in note) == sorted(n for n in clip_notes if "damaged" in n)
