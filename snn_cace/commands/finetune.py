"""The verb `finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from snn_cace.commands import extra_packages
from snn_cace.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Seed
from snn_cace.processes import flush_denormals


def finetune(
    videos: str,
    /,
    output: str,
    annotations: str | None = None,
    visual: str = "efficientnet-lite0",
    visual_weights: str | None = None,
    audio: str = "log-mel-statistics",
    audio_weights: str | None = None,
    epochs: PositiveInt = 20,
    batch_size: PositiveInt = 16,
    learning_rate: PositiveFloat = 1e-3,
    momentum: NonNegativeFloat = 0.9,
    temperature: PositiveFloat = 0.2,
    width: PositiveInt = 128,
    workers: NonNegativeInt = 1,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    seed: Seed = 0,
    resume: bool = False,
    quiet: bool = False,
) -> None:
    """Tune an image encoder by the sound of a folder of videos, for `extract --visual-weights OUTPUT/encoder.pth`.

    Args:
        videos: directory of files called by their video's name.
        output: directory to write encoder.pth, history.json and last.ckpt into.
        annotations: lines of Category&VideoID&Quality&Start&End; VIDEOS/Annotations.txt where it is left out.
        visual: encoder of pictures, as extract has them.
        visual_weights: file of the state dict to start from.
        audio: encoder of sound, which is not trained.
        audio_weights: file of its state dict.
        epochs: passes over the clips.
        batch_size: clips of a batch.
        learning_rate: of SGD, at the start; it falls by a cosine.
        momentum: of SGD.
        temperature: that similarities are divided by.
        width: of the projections that are compared.
        workers: processes that decode ahead.
        device: that trains.
        seed: of segments, order and projections.
        resume: go on with a broken-off fine-tuning.
        quiet: no progress bar.
    """
    with extra_packages("finetune", "extract"):
        from snn_cace.encoders.finetune import FineTuning
        from snn_cace.encoders.finetune import finetune as run

    listed = annotations or str(Path(videos) / "Annotations.txt")
    settings = FineTuning(
        videos, listed, visual, visual_weights, audio, audio_weights, epochs, batch_size, learning_rate, momentum,
        temperature, width, seed,
    )  # fmt: skip
    flush_denormals()
    print(f"encoder: {run(settings, Path(output), device, workers, resume, quiet)}")
