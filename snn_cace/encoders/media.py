"""A folder of videos with annotations, and the encoders it is read by: what `extract` and `finetune` share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snn_cace.data.labels import Annotation
from snn_cace.errors import InputError


@dataclass
class Media:
    """Videos with the file of their annotations; encoders of picture and sound with their files of weights, if any."""

    videos: str
    annotations: str
    visual: str
    visual_weights: str | None
    audio: str
    audio_weights: str | None


def first_difference(written: Path, settings: Any) -> str | None:
    """The first of the dataclass `settings` that is another in the JSON file `written`, for a line of error."""
    before = json.loads(written.read_text(encoding="utf-8"))
    return next((key for key, value in asdict(settings).items() if before.get(key) != value), None)


def video_files(directory: Path, annotations: list[Annotation]) -> list[Path | None]:
    """Each clip's file, by its video's name without the ending; None where there is none.

    Raises:
        InputError: no such directory, or no file of any clip in it.
    """
    if not directory.is_dir():
        raise InputError(f"no directory of videos {directory}")
    by_name = {file.stem: file for file in sorted(directory.iterdir()) if file.is_file()}
    files = [by_name.get(annotation.video) for annotation in annotations]
    if not any(files):
        raise InputError(
            f"{directory} holds no file called as a video of the annotations, such as {annotations[0].video}"
        )
    return files
