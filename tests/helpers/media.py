"""Real MP4 files with known pictures and sound, made by FFmpeg's encoders through PyAV."""

from __future__ import annotations

from collections.abc import Iterable
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
