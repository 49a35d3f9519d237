"""A clip's pictures and sound from a media file, cut into the same one-second segments; and a media file of them.

Pictures and sound lie on one clock, by their own timestamps. Its zero is where the earlier of the two streams starts,
as players and FFmpeg have it. A file shorter than the clip shows its last picture on, in silence; a longer one is cut.
What is missing is a note: a stream that begins late, ends early or has a gap, and damage. A file without any picture,
or a still one without sound, is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from math import inf
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition

from snn_cace.data.labels import SEGMENTS
from snn_cace.errors import one_line
from snn_cace.files import replacing

MISSING = 0.5  # seconds for which a stream may have nothing without a note
JITTER = 0.05  # seconds by which sound may be off its timestamps before it is cut: recorders' clocks are not exact
STILLS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
OBLIQUE = 0.02  # sine of the angle by which a display matrix may be off a quarter turn without a note
SAID = {  # of a stream that begins late, that has a gap, and that ends early
    "pictures": ("the first one stands", "the last one stands", "end", "the last one stands for the rest"),
    "sound": ("silent", "silent", "ends", "the rest is silent"),
}


class UnusableVideoError(ValueError):
    """A media file from which no clip can be made."""


@dataclass
class Clip:
    """pictures `[T, F, height, width, 3]` of bytes, sound `[T, samples a second]` in [-1, 1], and what was amiss."""

    pictures: np.ndarray
    sound: np.ndarray
    notes: list[str] = field(default_factory=list)


@dataclass
class Plan:
    """How clips are cut: pictures a segment, their size in pixels, and sound samples a second."""

    frames: int
    height: int
    width: int
    sample_rate: int
    segments: int = SEGMENTS


def read_clip(path: Path, plan: Plan) -> Clip:
    """The first `plan.segments` seconds of a media file.

    Raises:
        UnusableVideoError: no such file, no picture in it, or a decoder's error before the first.
    """
    notes: list[str] = []
    pictures, sound = zip(*read_segments(path, plan, notes, plan.segments), strict=True)
    return Clip(np.stack(pictures), np.stack(sound), notes)


def read_segments(
    path: Path, plan: Plan, notes: list[str] | None = None, number: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A media file of any length, segment by segment: pictures `[F, height, width, 3]` and sound `[samples]`, as
    `read_clip` has them; no more of it is held than that. It lasts for `number` segments, or until pictures and sound
    have ended; sound that goes on for less than `MISSING` makes no segment. At the end `notes` gets what is amiss.

    Raises:
        UnusableVideoError: as `read_clip`.
    """
    notes = [] if notes is None else notes
    with opened(path) as seen, opened(path) as heard:
        shown, played = Track("pictures", seen), Track("sound", heard)
        segments = zip(zip(*[pictures(shown, plan)] * plan.frames), sound(played, plan.sample_rate))  # noqa: B905
        for length, (taken, samples) in enumerate(islice(segments, number)):
            if number is None and shown.latest < length and played.end < length + MISSING:
                break
            yield np.stack(taken), samples
        said = shown.notes | played.notes
        notes += [note for note, (begin, end) in said.items() if min(end, number or length) - begin > MISSING]


def read_sound(container: InputContainer, plan: Plan, notes: list[str]) -> np.ndarray:
    """The sound alone of the first `plan.segments` seconds, `[T samples]`, as `read_clip` has it."""
    track = Track("sound", container)
    samples = np.concatenate(list(islice(sound(track, plan.sample_rate), plan.segments)))
    notes += [track.damage] if track.damage else []
    return samples


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """A media file; whatever FFmpeg says of it is an UnusableVideoError."""
    if not path.is_file():
        raise UnusableVideoError("no such file")
    try:
        with av.open(str(path)) as container:
            yield container
    except (av.FFmpegError, ValueError, OSError) as error:
        raise UnusableVideoError(one_line(error)) from None


def streams_in(path: Path) -> tuple[int, bool]:
    """How many pictures a file has, of which two are counted, and whether it has sound."""
    try:
        with opened(path) as container:
            return len(list(islice(Track("pictures", container).frames(), 2))), bool(container.streams.audio)
    except UnusableVideoError:
        return 0, False


def chosen(streams: Iterable[Any]) -> Any:
    """The default one of a container's streams, else the first; covers, thumbnails and stills are none. Those of which
    the container says that they hold one frame come last. None where there is none.
    """
    moving = [stream for stream in streams if not stream.disposition & STILLS]
    return min(moving, key=lambda s: (s.frames == 1, not s.disposition & Disposition.default), default=None)


class Track:
    """A file's pictures or its sound, by their times on the clock.

    latest: seconds at which the latest frame begins, and end: at which it ends. damage: what cut it short. notes: what
    is amiss, and the seconds from and to which something is missing.
    """

    def __init__(self, name: str, container: InputContainer) -> None:
        self.name, self.container = name, container
        streams = {"pictures": chosen(container.streams.video), "sound": chosen(container.streams.audio)}
        starts = [s.start_time * s.time_base for s in streams.values() if s and s.start_time is not None]
        self.stream, self.zero = streams[name], float(min(starts, default=0))
        self.latest, self.end, self.damage = -inf, 0.0, ""
        if self.stream:
            self.stream.thread_type = "AUTO"
        self.notes: dict[str, tuple[float, float]] = {}

    def frames(self) -> Iterator[tuple[float, Any]]:
        """Times and frames, in order. A frame without a timestamp follows the one before; where timestamps go back,
        frames are left out until they are where they were. A picture lasts as long as the mean one: few files say it.
        """
        (before, between, after, stands), back = SAID[self.name], False
        try:
            for frame in self.container.decode(self.stream) if self.stream else ():
                start = self.end if frame.time is None else frame.time - self.zero
                if start <= self.latest - (0 if back else MISSING):
                    self.notes[f"timestamps of {self.name} go back after {self.end:.1f} s; left out"] = -inf, inf
                    back = True
                    continue
                if start > self.end + MISSING:
                    given = between if self.latest > -inf else before
                    self.notes[f"no {self.name} from {self.end:.1f} s to {start:.1f} s; {given}"] = self.end, start
                rate = frame.sample_rate if self.name == "sound" else self.stream.average_rate
                seconds = getattr(frame, "samples", 1) / float(rate or self.stream.guessed_rate or inf)
                self.latest, self.end, back = start, start + seconds, False
                yield start, frame
        except av.FFmpegError as error:
            self.damage = one_line(error)[:80]
        if self.latest == -inf:
            self.notes[f"no {self.name}: {before}{self.damage and f' ({self.damage})'}"] = -inf, inf
        elif self.damage:
            self.notes[f"{self.name} damaged after {self.end:.1f} s: {self.damage}"] = -inf, inf
        else:
            self.notes[f"{self.name} {after} after {self.end:.1f} s; {stands}"] = self.end, inf


def pictures(track: Track, plan: Plan) -> Iterator[np.ndarray]:
    """Bytes `[height, width, 3]`: what is shown at the middle of each F-th of a segment, else the first picture."""
    given = 0
    for number, ((_, frame), (end, _)) in enumerate(pairwise(chain(track.frames(), [(inf, None)]))):
        if number == 0 and end == inf and not track.container.streams.audio:
            raise UnusableVideoError("a still picture without sound")
        pixels = None
        while (given + 0.5) / plan.frames < end:
            pixels = upright(frame, plan, track) if pixels is None else pixels
            yield pixels
            given += 1
    still = " but a still one" if track.stream is None and track.container.streams.video else ""
    raise UnusableVideoError(track.damage or f"no picture{still}")


def upright(frame: Any, plan: Plan, track: Track) -> np.ndarray:
    """A picture of the plan's size, turned and mirrored as its display matrix asks, to the nearest quarter. By the
    matrix, pixel (x, y) is shown at (a x + c y, b x + d y), whatever the scale.
    """
    try:
        a, b, _, c, d = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), np.int32)[:5].astype(float)
    except (KeyError, ValueError):  # none, or other side data of a type that PyAV does not know
        a, b, c, d = 1, 0, 0, 1
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    if min(straight, crossed) > OBLIQUE * max(straight, crossed):
        track.notes["pictures are turned obliquely; shown to the nearest quarter turn"] = -inf, inf
    size = (plan.width, plan.height) if straight >= crossed else (plan.height, plan.width)
    rgb = frame.reformat(*size, format="rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
    if straight < crossed:
        rgb, a, d = rgb.swapaxes(0, 1), c, b
    return np.ascontiguousarray(rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def sound(track: Track, rate: int) -> Iterator[np.ndarray]:
    """Samples of each segment, `[rate]` in [-1, 1]: silence where none are, the earlier ones where two are."""
    held, begin = np.zeros(0, np.float32), 0
    for at, samples in chain(resampled(track, rate), [(sys.maxsize, held)]):
        while at >= begin + rate:
            yield np.pad(held[:rate], (0, max(0, rate - len(held)))).clip(-1, 1)
            held, begin = held[rate:], begin + rate
        gap = at - begin - len(held)
        held = np.concatenate([held, np.zeros(max(0, gap), np.float32), samples[max(0, -gap) :]])


def resampled(track: Track, rate: int) -> Iterator[tuple[int, np.ndarray]]:
    """Samples at `rate` with the number of the first. They run on while the frames' rate stays and timestamps agree."""
    kind, due, at, resampler = (0, "", ""), inf, 0, av.AudioResampler()
    for start, frame in track.frames():
        now = frame.sample_rate, frame.layout.name, frame.format.name
        start = due if abs(start - due) <= JITTER and now[0] == kind[0] else start
        if (now, start) != (kind, due):
            yield at, mean(resampler, None)
            resampler = av.AudioResampler("flt", frame.layout, rate)
            kind, at = now, round(start * rate)
        samples = mean(resampler, frame)
        yield at, samples
        due, at = start + frame.samples / frame.sample_rate, at + len(samples)
    yield at, mean(resampler, None)


def mean(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> np.ndarray:
    """Of all channels, the samples that a resampler has for a frame, or holds yet: `[samples]`."""
    # PyAV's to_ndarray reads past the planes of eight channels or more; packed ones are one plane.
    packed = [part.to_ndarray().reshape(-1, part.layout.nb_channels) for part in resampler.resample(frame) if part]
    return np.concatenate([np.zeros(0), *(part.mean(1, dtype=np.float64) for part in packed)]).astype(np.float32)


def write_video(path: Path, pictures: np.ndarray, rate: int, sound: np.ndarray | None = None, samples: int = 0) -> None:
    """An MP4 of H.264, and of AAC where there is sound; the same bytes for the same input.

    pictures: bytes `[N, height, width, 3]` of even sizes, `rate` a second. sound: one channel, `samples` a second.
    """
    with replacing(path) as temporary, av.open(str(temporary), "w") as container:
        options = {"preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}  # whose tree reads unset memory
        video = container.add_stream("libx264", rate=rate, options=options)
        video.height, video.width, video.pix_fmt = *pictures.shape[1:3], "yuv420p"
        if sound is not None:
            audio = container.add_stream("aac", rate=samples, layout="mono")
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = samples, 0
            container.mux([*audio.encode(frame), *audio.encode(None)])
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
