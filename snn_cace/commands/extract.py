"""The verb `extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from snn_cace.commands import extra_packages
from snn_cace.config import NonNegativeInt, PositiveInt, Seed
from snn_cace.processes import flush_denormals, sole_writer


def extract(
    videos: str,
    /,
    output: str,
    annotations: str | None = None,
    visual: str = "efficientnet-lite0",
    visual_weights: str | None = None,
    audio: str = "log-mel-statistics",
    audio_weights: str | None = None,
    audio_pca: str | None = None,
    frames: PositiveInt = 4,
    dtype: Literal["float16", "float32"] = "float32",
    workers: NonNegativeInt = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    seed: Seed = 0,
    quiet: bool = False,
) -> None:
    """Features of videos, in AVE's layout.

    A broken-off extraction goes on where it was, if nothing that decides its result has changed. Splits are those of
    trainSet.txt, valSet.txt and testSet.txt beside the annotations, or drawn. Files from which no clip can be made are
    left out and listed.

    Args:
        videos: directory of files called by their video's name, in any container that FFmpeg reads; or archives of
            them: a .zip, a .parquet, or a directory of these. They are unpacked into the output while it is made.
        output: directory to write the features into.
        annotations: lines of Category&VideoID&Quality&Start&End; VIDEOS/Annotations.txt where it is left out.
        visual: encoder of pictures: efficientnet-lite0, installed with its weights, or one of timm's with feature maps;
            or events, those of an event camera, without weights.
        visual_weights: file of its state dict, in place of the package's or the hub's.
        audio: encoder of sound; log-mel-statistics, without weights, vggish, cnn14, or one of transformers'.
        audio_weights: file of the state dict of vggish or cnn14.
        audio_pca: file by which vggish's embeddings are whitened as AudioSet's are, and AVE's are not.
        frames: pictures of a segment, whose features are averaged; events are between them.
        dtype: of features.
        workers: processes that decode ahead.
        device: where the encoders run.
        seed: of drawn splits.
        quiet: no progress bar.
    """
    with extra_packages("extract", "extract"):
        from snn_cace.encoders.extract import Settings
        from snn_cace.encoders.extract import extract as run
    from snn_cace.encoders.audio import audio_encoder
    from snn_cace.encoders.visual import visual_encoder
    from snn_cace.runtime import pick_device

    listed = annotations or str(Path(videos) / "Annotations.txt")
    settings = Settings(videos, listed, visual, visual_weights, audio, audio_weights, frames, dtype, audio_pca)
    flush_denormals()
    encoder = visual_encoder(visual, visual_weights, frames)
    encoder.network.to(pick_device(device))
    sound = audio_encoder(audio, audio_weights, audio_pca)
    with sole_writer(output):
        summary = run(settings, Path(output), encoder, sound, workers, seed, quiet)
    for what, listed_lines in (("left out", summary.left_out), ("noted", summary.notes)):
        for video, lines in listed_lines.items():
            print(f"{what}: {video}: {lines if isinstance(lines, str) else '; '.join(lines)}")
    parts = ", ".join(f"{split} {count}" for split, count in summary.splits.items())
    print(f"{summary.clips} clips ({parts}), {len(summary.left_out)} left out: {output}")
