"""A clip's pictures and sound from a media file, cut into the same one-second segments; and a media file of them.

Pictures are picked by their presentation times, so a variable frame rate needs no care: segment t has `frames`
instants, evenly spaced within [t, t + 1), and each takes the last picture shown by then. Rotation that the file asks
for is applied. Sound is mixed to one channel and resampled; silence stands where a file has none at that time.

A file shorter than the clip shows its last picture on, in silence; a longer one is cut. Both, and a stream that is
missing, are notes; a file without any picture, or that cannot be decoded, is an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from snn_cace.files import replacing

SEGMENTS = 10
SHORT_BY = 0.5
"""Seconds by which a stream may end early without a note."""


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

    @property
    def instants(self) -> np.ndarray:
        """Seconds at which pictures are taken: the middles of equal parts of each segment, `[T F]`."""
        return (np.arange(self.segments * self.frames) + 0.5) / self.frames


def read_clip(path: Path, plan: Plan) -> Clip:
    """The first `plan.segments` seconds of a media file.

    Raises:
        UnusableVideoError: no such file, no picture in it, or a decoder's error before the first.
    """
    if not path.is_file():
        raise UnusableVideoError("no such file")
    notes: list[str] = []
    try:
        with av.open(str(path)) as container:
            pictures = read_pictures(container, plan, notes)
        with av.open(str(path)) as container:
            sound = read_sound(container, plan, notes)
    except (av.FFmpegError, ValueError, OSError) as error:
        if isinstance(error, UnusableVideoError):
            raise
        raise UnusableVideoError(" ".join(str(error).split()) or type(error).__name__) from None
    shape = (plan.segments, plan.frames, *pictures.shape[1:])
    return Clip(pictures.reshape(shape), sound.reshape(plan.segments, plan.sample_rate), notes)


def read_pictures(container: av.container.InputContainer, plan: Plan, notes: list[str]) -> np.ndarray:
    """The picture shown at each instant, `[T F, height, width, 3]`."""
    if not container.streams.video:
        raise UnusableVideoError("no picture")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    start = start_of(stream)
    instants, last = plan.instants, 0.0
    taken: list[np.ndarray] = []
    shown: av.VideoFrame | None = None
    try:
        for frame in container.decode(stream):
            now = (frame.time if frame.time is not None else start) - start
            due = int(np.searchsorted(instants, now, side="left"))
            if shown is not None and due > len(taken):
                taken += [as_array(shown, plan)] * (due - len(taken))
            shown, last = frame, now
            if len(taken) == len(instants):
                break
    except av.FFmpegError as error:
        if shown is None:
            raise
        notes.append(f"picture damaged after {last:.1f} s: {' '.join(str(error).split())[:80]}")
    if shown is None:
        raise UnusableVideoError("no picture")
    if len(taken) < len(instants):
        if plan.segments - last > SHORT_BY:
            notes.append(f"pictures end after {last:.1f} s; the last one stands for the rest")
        taken += [as_array(shown, plan)] * (len(instants) - len(taken))
    return np.stack(taken)


def read_segments(path: Path, plan: Plan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A media file of any length, segment by segment: pictures `[F, height, width, 3]` and sound `[samples]`, as
    `read_clip` has them; no more of it is held than that.

    Raises:
        UnusableVideoError: no such file, no picture in it, or a decoder's error.
    """
    if not path.is_file():
        raise UnusableVideoError("no such file")
    try:
        with av.open(str(path)) as seen, av.open(str(path)) as heard:
            if not seen.streams.video:
                raise UnusableVideoError("no picture")
            sounds = sound_by_segment(heard, plan.sample_rate)
            for pictures in pictures_by_segment(seen, plan):
                yield pictures, next(sounds, np.zeros(plan.sample_rate, np.float32))
    except (av.FFmpegError, OSError) as error:
        raise UnusableVideoError(" ".join(str(error).split()) or type(error).__name__) from None


def pictures_by_segment(container: av.container.InputContainer, plan: Plan) -> Iterator[np.ndarray]:
    """The pictures shown at each segment's instants; the last segment's stand to its end."""
    stream = container.streams.video[0]
    start = start_of(stream)
    taken: list[np.ndarray] = []
    shown: av.VideoFrame | None = None
    done, now = 0, 0.0
    for frame in container.decode(stream):
        now = (frame.time if frame.time is not None else start) - start
        while shown is not None and (done + 0.5) / plan.frames < now:
            taken.append(as_array(shown, plan))
            done += 1
            if len(taken) == plan.frames:
                yield np.stack(taken)
                taken = []
        shown = frame
    if shown is None:
        raise UnusableVideoError("no picture")
    if taken or now >= done / plan.frames:
        yield np.stack(taken + [as_array(shown, plan)] * (plan.frames - len(taken)))


def sound_by_segment(container: av.container.InputContainer, rate: int) -> Iterator[np.ndarray]:
    """One channel, a second at a time, in step with the pictures; the last one ends in silence."""
    if not container.streams.audio:
        return
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
    start = video_start(container)
    held: np.ndarray | None = None
    for frame in itertools.chain(container.decode(container.streams.audio[0]), [None]):
        if held is None:
            late = 0.0 if frame is None else (frame.time or 0.0) - start
            held = np.zeros(max(0, round(late * rate)), np.float32)
        held = np.concatenate([held, *(resampled.to_ndarray()[0] for resampled in resampler.resample(frame))])
        while len(held) >= rate:
            yield held[:rate]
            held = held[rate:]
    if held is not None and len(held):
        yield np.pad(held, (0, rate - len(held)))


def as_array(frame: av.VideoFrame, plan: Plan) -> np.ndarray:
    """A picture, turned upright, of the plan's size: `[height, width, 3]`."""
    turns = (frame.rotation // 90) % 4
    height, width = (plan.height, plan.width) if turns % 2 == 0 else (plan.width, plan.height)
    pixels = frame.reformat(width=width, height=height, format="rgb24", interpolation="BICUBIC").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, turns))


def read_sound(container: av.container.InputContainer, plan: Plan, notes: list[str]) -> np.ndarray:
    """One channel of `plan.segments` seconds, in step with the pictures."""
    wanted = plan.segments * plan.sample_rate
    sound = np.zeros(wanted, np.float32)
    if not container.streams.audio:
        notes.append("no sound: silent")
        return sound
    stream = container.streams.audio[0]
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=plan.sample_rate)
    start = video_start(container)
    end, first = 0, None
    try:
        for frame in container.decode(stream):
            if first is None:
                first = max(0, round(((frame.time or 0.0) - start) * plan.sample_rate))
                end = first
            end = place(sound, resampler.resample(frame), end)
            if end >= wanted:
                break
        else:
            end = place(sound, resampler.resample(None), end)
    except av.FFmpegError as error:
        notes.append(f"sound damaged after {end / plan.sample_rate:.1f} s: {' '.join(str(error).split())[:80]}")
    if wanted - end > SHORT_BY * plan.sample_rate and not any("damaged" in note for note in notes):
        notes.append(f"sound ends after {end / plan.sample_rate:.1f} s; the rest is silent")
    return sound


def video_start(container: av.container.InputContainer) -> float:
    """Seconds at which the pictures begin, from which the sound is counted too."""
    if not container.streams.video:
        return 0.0
    return start_of(container.streams.video[0])


def start_of(stream: av.VideoStream) -> float:
    """Seconds at which its first picture is shown."""
    return float((stream.start_time or 0) * (stream.time_base or 0))


def place(sound: np.ndarray, frames: list[av.AudioFrame], end: int) -> int:
    """Copy resampled frames behind one another into `sound`; returns where they end."""
    for frame in frames:
        samples = frame.to_ndarray()[0]
        room = min(len(samples), max(0, len(sound) - end))
        sound[end : end + room] = samples[:room]
        end += len(samples)
    return end


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
