"""A clip's pictures and sound from a media file, cut into the same one-second segments; and a media file of them.

Pictures and sound lie on one clock, by their own timestamps. Its zero is where the earlier of the two streams starts,
as players and FFmpeg have it. Segment t has `frames` instants, evenly spaced within [t, t + 1), and each takes the last
picture shown by then, or the first one where none is yet. Sound is the plain mean of its channels, resampled; it is
silent where the file has none. A picture comes turned and mirrored as its display matrix asks.

A file shorter than the clip shows its last picture on, in silence; a longer one is cut. What is missing is a note: a
stream that begins late, ends early or has a gap, and damage. A file without any picture, or a still one without sound,
is an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from math import inf
from pathlib import Path
from typing import Any, ClassVar, cast

import av
import numpy as np
from av.stream import Disposition

from snn_cace.files import replacing

SEGMENTS = 10
MISSING = 0.5
"""Seconds for which a stream may have nothing without a note."""
JITTER = 0.05
"""Seconds by which sound may be off its timestamps before it is cut: recorders' clocks are not exact."""
STILLS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
OBLIQUE = 0.02
"""Of a display matrix: how far off a quarter turn, as the sine of the angle, goes without a note."""


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
    with opened(path) as (seen, heard):
        pictures = Pictures(seen, plan, notes, plan.segments).segments(plan.segments)
        return Clip(pictures, read_sound(heard, plan, notes).reshape(plan.segments, plan.sample_rate), notes)


def read_sound(container: av.container.InputContainer, plan: Plan, notes: list[str]) -> np.ndarray:
    """One channel of `plan.segments` seconds in [-1, 1], `[T samples]`, in step with the pictures."""
    return Sound(container, plan, notes, plan.segments).segments(plan.segments).ravel()


def read_segments(path: Path, plan: Plan, notes: list[str] | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A media file of any length, segment by segment: pictures `[F, height, width, 3]` and sound `[samples]`, as
    `read_clip` has them; no more of it is held than that. It lasts until pictures and sound have ended; sound that goes
    on for less than `MISSING` makes no segment. `notes` gets what is amiss.

    Raises:
        UnusableVideoError: as `read_clip`.
    """
    notes = [] if notes is None else notes
    with opened(path) as (seen, heard):
        pictures, sound = Pictures(seen, plan, notes), Sound(heard, plan, notes)
        for number in count():
            segment = pictures.segment(number), sound.segment(number)
            if pictures.latest < number and sound.end < number + MISSING:
                break
            yield segment
        pictures.note_end(number)
        sound.note_end(number)


@contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.container.InputContainer]]:
    """The file twice, for its pictures and for its sound; whatever FFmpeg says of it is an UnusableVideoError."""
    if not path.is_file():
        raise UnusableVideoError("no such file")
    try:
        with av.open(str(path)) as seen, av.open(str(path)) as heard:
            yield seen, heard
    except UnusableVideoError:
        raise
    except (av.FFmpegError, ValueError, OSError) as error:
        raise UnusableVideoError(one_line(error)) from None


def one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def streams_in(path: Path) -> tuple[int, bool]:
    """How many pictures a file has, of which two are counted, and whether it has sound."""
    try:
        with opened(path) as (seen, heard):
            stream = chosen(seen.streams.video)
            packets = () if stream is None else seen.demux(stream)
            pictures = sum(1 for _ in islice((packet for packet in packets if packet.size), 2))
            return pictures, bool(heard.streams.audio)
    except UnusableVideoError:
        return 0, False


def chosen(streams: Iterable[Any]) -> Any:
    """The default one of a container's streams, else the first; covers, thumbnails and stills are none. Those of which
    the container says that they hold one frame come last. None where there is none.
    """
    moving = [stream for stream in streams if not stream.disposition & STILLS]
    return min(moving, key=lambda s: (s.frames == 1, not s.disposition & Disposition.default), default=None)


def clock_zero(container: av.container.InputContainer) -> float:
    """Seconds at which the earlier of the pictures and the sound starts."""
    streams = chosen(container.streams.video), chosen(container.streams.audio)
    starts = [float(s.start_time * s.time_base) for s in streams if s is not None and s.start_time is not None]
    return min(starts, default=0.0)


class Track(ABC):
    """A stream's frames by their times on the clock.

    latest: seconds at which the latest one begins, and end: at which it ends. until: seconds from which on nothing is
    missing.
    """

    name: ClassVar[str]
    before: ClassVar[str]
    between: ClassVar[str]
    after: ClassVar[str]

    def __init__(
        self, container: av.container.InputContainer, stream: Any, plan: Plan, notes: list[str], until: float
    ) -> None:
        self.container, self.stream, self.plan, self.notes, self.until = container, stream, plan, notes, until
        self.zero = clock_zero(container)
        self.latest, self.end = -inf, 0.0
        self.damage = ""

    @abstractmethod
    def duration(self, frame: Any) -> float:
        """Seconds for which a frame stands."""

    @abstractmethod
    def segment(self, number: int) -> np.ndarray:
        """What is seen or heard in a segment; no earlier one may be asked for."""

    def segments(self, number: int) -> np.ndarray:
        """The first `number` segments, `[T, ...]`, and a note where the stream ends before them."""
        segments = np.stack([self.segment(t) for t in range(number)])
        self.note_end(number)
        return segments

    def frames(self) -> Iterator[tuple[float, Any]]:
        """Times and frames, in order. A frame without a timestamp follows the one before; where timestamps go back,
        frames are left out until they are where they were.
        """
        back = False
        try:
            for frame in self.container.decode(self.stream) if self.stream is not None else ():
                start = self.end if frame.time is None else frame.time - self.zero
                if start < self.latest - MISSING or (back and start <= self.latest):
                    if not back:
                        self.notes.append(f"timestamps of {self.name} go back after {self.end:.1f} s; left out")
                    back = True
                    continue
                if min(start, self.until) - self.end > MISSING:
                    stands = self.between if self.latest > -inf else self.before
                    self.notes.append(f"no {self.name} from {self.end:.1f} s to {start:.1f} s; {stands}")
                self.latest, self.end, back = start, start + self.duration(frame), False
                yield start, frame
        except av.FFmpegError as error:
            self.damage = one_line(error)
            if self.latest > -inf:
                self.notes.append(f"{self.name} damaged after {self.end:.1f} s: {self.damage[:80]}")

    def note_end(self, seconds: float) -> None:
        """Say where the stream ends, if that is before `seconds` and not said yet."""
        if self.latest > -inf and not self.damage and seconds - self.end > MISSING:
            self.notes.append(self.after.format(self.end))


class Pictures(Track):
    """Segments of pictures, `[F, height, width, 3]` of bytes: those shown at the middles of F equal parts."""

    name, before, between = "pictures", "the first one stands", "the last one stands"
    after = "pictures end after {:.1f} s; the last one stands for the rest"

    def __init__(
        self, container: av.container.InputContainer, plan: Plan, notes: list[str], until: float = inf
    ) -> None:
        super().__init__(container, chosen(container.streams.video), plan, notes, until)
        if self.stream is None:
            raise UnusableVideoError("no picture" if not container.streams.video else "no picture but a still one")
        self.stream.thread_type = "AUTO"
        self.coming = self.frames()
        first = next(self.coming, None)
        if first is None:
            raise UnusableVideoError(self.damage or "no picture")
        self.shown, self.next = first[1], next(self.coming, None)
        if self.next is None and not container.streams.audio:
            raise UnusableVideoError("a still picture without sound")
        self.pixels: np.ndarray | None = None

    def duration(self, frame: av.VideoFrame) -> float:
        """Of the mean picture: few containers say how long one is shown."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return 1 / float(rate) if rate else 0.0

    def segment(self, number: int) -> np.ndarray:
        taken = []
        for part in range(self.plan.frames):
            instant = (number * self.plan.frames + part + 0.5) / self.plan.frames
            while self.next is not None and self.next[0] <= instant:
                self.shown, self.next, self.pixels = self.next[1], next(self.coming, None), None
            if self.pixels is None:
                self.pixels = self.upright(self.shown)
            taken.append(self.pixels)
        return np.stack(taken)

    def upright(self, frame: av.VideoFrame) -> np.ndarray:
        """A picture turned and mirrored as its display matrix asks, to the nearest quarter, of the plan's size."""
        swapped, down, across, oblique = orientation(display_matrix(frame))
        note = "pictures are turned obliquely; shown to the nearest quarter turn"
        if oblique and note not in self.notes:
            self.notes.append(note)
        height, width = (self.plan.width, self.plan.height) if swapped else (self.plan.height, self.plan.width)
        rgb = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC").to_ndarray()
        return np.ascontiguousarray((rgb.swapaxes(0, 1) if swapped else rgb)[::down, ::across])


def display_matrix(frame: av.VideoFrame) -> np.ndarray:
    """The linear part `[[a, b], [c, d]]` of a frame's display matrix: pixel (x, y) is shown at (a x + c y, b x + d y).
    The identity where it has none.
    """
    try:
        stored = bytes(cast(Any, frame.side_data)["DISPLAYMATRIX"])
    except (KeyError, ValueError):  # none, or other side data of a type that PyAV does not know
        return np.eye(2)
    return np.frombuffer(stored, np.int32)[[0, 1, 3, 4]].reshape(2, 2) / 65536


def orientation(matrix: np.ndarray) -> tuple[bool, int, int, bool]:
    """What a display matrix asks for: whether rows and columns change places, then the steps, 1 or -1, through rows and
    columns, and whether it is no multiple of a quarter turn.
    """
    (a, b), (c, d) = matrix
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    swapped = bool(crossed > straight)
    down, across = (b, c) if swapped else (d, a)
    oblique = bool(min(straight, crossed) > OBLIQUE * max(straight, crossed))
    return swapped, -1 if down < 0 else 1, -1 if across < 0 else 1, oblique


class Sound(Track):
    """Segments of sound, `[samples]` of one second in [-1, 1]."""

    name, before, between = "sound", "silent", "silent"
    after = "sound ends after {:.1f} s; the rest is silent"

    def __init__(
        self, container: av.container.InputContainer, plan: Plan, notes: list[str], until: float = inf
    ) -> None:
        super().__init__(container, chosen(container.streams.audio), plan, notes, until)
        self.coming = self.pieces(plan.sample_rate)
        self.piece = next(self.coming, None)
        if self.piece is None:
            notes.append(f"no sound: silent{self.damage and f' ({self.damage[:80]})'}")

    def duration(self, frame: av.AudioFrame) -> float:
        return frame.samples / frame.sample_rate

    def segment(self, number: int) -> np.ndarray:
        first = number * self.plan.sample_rate
        sound = np.zeros(self.plan.sample_rate, np.float32)
        while self.piece is not None:
            at, samples = self.piece
            begin, end = max(at, first), min(at + len(samples), first + len(sound))
            if begin < end:
                sound[begin - first : end - first] = samples[begin - at : end - at]
            if at + len(samples) > first + len(sound):
                break
            self.piece = next(self.coming, None)
        return sound.clip(-1, 1)

    def pieces(self, rate: int) -> Iterator[tuple[int, np.ndarray]]:
        """Runs of samples at `rate` with the number of the first, in order; what lies before an earlier one's end is
        cut. A run goes on as long as timestamps agree with its samples, to within `JITTER`.
        """
        filled = 0
        for at, samples in self.resampled(rate):
            cut = max(0, filled - at)
            filled = max(filled, at + len(samples))
            if len(samples) > cut:
                yield at + cut, samples[cut:]

    def resampled(self, rate: int) -> Iterator[tuple[int, np.ndarray]]:
        """As `pieces`, where they may lie over one another."""
        given, at, due = 0, 0, inf
        resampler: av.AudioResampler | None = None
        for start, samples, of_frame in self.mixed():
            if of_frame != given or abs(start - due) > JITTER:
                yield at, joined(resampler, None)
                resampler = None if of_frame == rate else av.AudioResampler(format="fltp", layout="mono", rate=rate)
                given, at, due = of_frame, round(start * rate), start
            due += len(samples) / given
            if resampler is not None:
                frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
                frame.sample_rate = given
                samples = joined(resampler, frame)
            yield at, samples
            at += len(samples)
        yield at, joined(resampler, None)

    def mixed(self) -> Iterator[tuple[float, np.ndarray, int]]:
        """Each frame's time, the plain mean of its channels `[samples]` and their rate, whatever its format."""
        known: tuple[str, str, int] | None = None
        for start, frame in self.frames():
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            if kind != known:
                known = kind
                # PyAV's to_ndarray reads past the planes of eight channels or more; packed ones are one plane.
                packer = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
            for packed in packer.resample(frame):
                channels = packed.to_ndarray().reshape(-1, packed.layout.nb_channels)
                yield start, channels.mean(1, dtype=np.float64).astype(np.float32), frame.sample_rate


def joined(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> np.ndarray:
    """The samples that a resampler to one channel has for a frame, or holds yet: `[samples]`."""
    frames = [] if resampler is None else resampler.resample(frame)
    return np.concatenate([np.zeros(0, np.float32), *(resampled.to_ndarray()[0] for resampled in frames)])


def write_video(path: Path, pictures: np.ndarray, rate: int, sound: np.ndarray | None = None, samples: int = 0) -> None:
    """An MP4 of H.264, and of AAC where there is sound; the same bytes for the same input.

    pictures: bytes `[N, height, width, 3]` of even sizes, `rate` a second. sound: one channel, `samples` a second.
    """
    with replacing(path) as temporary, av.open(str(temporary), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "veryfast"})
        video.height, video.width, video.pix_fmt = *pictures.shape[1:3], "yuv420p"
        video.thread_count = 1
        audio = None if sound is None else container.add_stream("aac", rate=samples, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            for piece in pieces(sound, audio.codec_context.frame_size or 1024, samples):
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))


def pieces(sound: np.ndarray, size: int, samples: int) -> Iterator[av.AudioFrame]:
    """Frames of `size` samples, in step."""
    for start in range(0, len(sound), size):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + size], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = samples, start
        yield frame
