"""Real MP4 files with known pictures and sound, made by FFmpeg's encoders through PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path,
    event: tuple[int, int] = (3, 6),
    seconds: float = 10.0,
    codec: str = "libx264",
    rate: Fraction | int = 25,
    sample_rate: int = 44100,
    layout: str = "stereo",
    sound: bool = True,
    size: tuple[int, int] = (64, 96),
    b_frames: int = 2,
    corner: bool = False,
    frames: Iterable[int] | None = None,
) -> Path:
    """A grey, silent clip; within the segments of `event` a bright square is seen, in the middle or in the top left
    `corner`, and a 440 Hz tone heard. frames: the numbers of those that are there, all without it.
    """
    height, width = size
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.bit_rate = 400_000
        video.codec_context.max_b_frames = b_frames
        audio = container.add_stream("aac", rate=sample_rate, layout=layout) if sound else None
        top, left = (0, 0) if corner else (height // 4, width // 4)
        for number in range(round(seconds * rate)) if frames is None else frames:
            pixels = np.full((height, width, 3), 60, np.uint8)
            if event[0] <= number / float(rate) < event[1]:
                pixels[top : top + height // 2, left : left + width // 2] = 230
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, 1 / Fraction(rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            times = np.arange(round(seconds * sample_rate)) / sample_rate
            heard = (times >= event[0]) & (times < event[1])
            wave = (0.5 * np.sin(2 * np.pi * 440 * times) * heard).astype(np.float32)
            channels = np.tile(wave, (2 if layout == "stereo" else 1, 1))
            whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
            whole.sample_rate = sample_rate
            fifo = av.AudioFifo()
            fifo.write(whole)
            while (piece := fifo.read(audio.codec_context.frame_size or 1024, partial=True)) is not None:
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return path


@dataclass
class Piece:
    """Sound of a constant level in each channel, from `start` on, in seconds."""

    start: float
    seconds: float
    levels: Sequence[float] = (0.5,)
    rate: int = 16000
    layout: str = "mono"

    def frame(self) -> av.AudioFrame:
        """All of it, in packed floats."""
        samples = np.tile(np.float32(self.levels), (round(self.seconds * self.rate), 1)).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="flt", layout=self.layout)
        frame.sample_rate, frame.pts, frame.time_base = self.rate, round(self.start * self.rate), Fraction(1, self.rate)
        return frame


PICTURE_CODECS = {".mov": ("qtrle", "rgb24", 10), ".ts": ("mpeg2video", "yuv420p", 25)}
"""By the file's ending: codec, pixels and pictures a second; FFV1 else. MPEG-2 alone loses something."""


def write_tracks(
    path: Path,
    pictures: Sequence[tuple[float, int | np.ndarray]],
    sound: Sequence[Piece],
    codec: str = "pcm_f32le",
    sample_format: str = "flt",
) -> Path:
    """A file whose pictures, of one grey or whole `[height, width, 3]`, and sound have the timestamps given."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        packets = []
        if pictures:
            name, pixels, rate = PICTURE_CODECS.get(path.suffix, ("ffv1", "bgr0", 10))
            video = container.add_stream(name, rate=rate)
            video.width, video.height, video.pix_fmt = 32, 32, pixels
            video.codec_context.max_b_frames = 0
            for time, picture in pictures:
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), picture, np.uint8), format="rgb24")
                frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
                packets += video.encode(frame)
            packets += video.encode(None)
        if sound:
            audio = container.add_stream(codec, rate=sound[0].rate, layout=sound[0].layout)
            audio.codec_context.format = sample_format
            for piece in sound:
                samples = audio.codec_context.frame_size or piece.rate // 4
                packer = av.AudioResampler(sample_format, piece.layout, piece.rate, samples)
                for packed in (*packer.resample(piece.frame()), *packer.resample(None)):
                    packets += audio.encode(packed)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path
