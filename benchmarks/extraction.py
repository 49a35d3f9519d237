"""Clips a second of `extract` beside decoding alone and encoding alone, on made-up videos of AVE's size.

.venv/bin/python benchmarks/extraction.py [CLIPS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

import torch
from media import write_video
from torch.utils.data import DataLoader

from snn_cace.data.labels import read_annotations
from snn_cace.encoders.audio import audio_encoder
from snn_cace.encoders.extract import Settings, VideoClips, encoded_pictures, extract
from snn_cace.encoders.media import READ_AHEAD, video_files
from snn_cace.encoders.video import Plan
from snn_cace.encoders.visual import visual_encoder
from snn_cace.processes import flush_denormals
from snn_cace.provenance import processor

FRAMES, SIZE, WORKERS = 4, (360, 640), 1


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main(clips: int) -> None:
    flush_denormals()
    with tempfile.TemporaryDirectory() as directory:
        videos = Path(directory, "videos")
        videos.mkdir()
        lines = []
        for number in range(clips):
            write_video(videos / f"{number}.mp4", (2, 6), size=SIZE, rate=30)
            lines.append(f"{'bell' if number % 2 else 'horn'}&{number}&good&2&6\n")
        (videos / "Annotations.txt").write_text("".join(lines))
        settings = Settings(str(videos), str(videos / "Annotations.txt"), "", None, "", None, FRAMES, "float32")
        visual, audio = visual_encoder(), audio_encoder()
        files = video_files(videos, read_annotations(settings.annotations))
        decoded = VideoClips(files, list(range(clips)), Plan(FRAMES, *visual.size, audio.sample_rate))
        loader = DataLoader(decoded, batch_size=None, num_workers=WORKERS, prefetch_factor=READ_AHEAD)
        clip = decoded[0][1]
        encoded_pictures(clip, visual)
        decoding = seconds(lambda: list(loader))
        encoding = seconds(
            lambda: [(encoded_pictures(clip, visual), audio(torch.from_numpy(clip.sound))) for _ in files]
        )
        both = seconds(lambda: extract(settings, Path(directory, "ave"), visual, audio, WORKERS, 0, quiet=True))
    slower = max(decoding, encoding)
    print(
        f"{clips} clips of {SIZE[1]} x {SIZE[0]} at 30 fps, {FRAMES} pictures a segment, "
        f"{torch.get_num_threads()} threads, {processor()}"
    )
    print(f"decoding alone {clips / decoding:.2f} clips/s, encoding alone {clips / encoding:.2f} clips/s")
    print(f"extract {clips / both:.2f} clips/s: {slower / both:.2f} of the slower of the two")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
