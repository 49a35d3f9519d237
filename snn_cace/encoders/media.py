"""A folder of videos with annotations, and the encoders it is read by: what `extract` and `finetune` share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from snn_cace import processes
from snn_cace.data.labels import Annotation
from snn_cace.encoders.video import streams_in
from snn_cace.errors import InputError

READ_AHEAD = 2
"""Items that each worker decodes ahead."""


@dataclass
class Media:
    """Videos with the file of their annotations; encoders of picture and sound with their files of weights, if any."""

    videos: str
    annotations: str
    visual: str
    visual_weights: str | None
    audio: str
    audio_weights: str | None


def decoded_ahead(videos: Dataset, workers: int, **options: Any) -> DataLoader:
    """A loader of what is decoded from media files, by workers if there are any.

    They are no forks of this process: these would free FFmpeg's objects of before, and wait for their threads, which
    they have not.
    """
    context = processes.workers() if workers else None
    return DataLoader(
        videos,
        num_workers=workers,
        multiprocessing_context=context,
        worker_init_fn=processes.start_decoder,
        prefetch_factor=READ_AHEAD if workers else None,
        **options,
    )


def first_difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first key of `now`, whose values JSON can hold, that was another `before`, for a line of error."""
    return next((key for key, value in json.loads(json.dumps(now)).items() if before.get(key) != value), None)


def content_digests(annotations: list[Annotation], visual: nn.Module, audio: nn.Module | None) -> dict[str, str]:
    """Digests of what is behind the names in `Media`, by what an error calls it: files change under the same name."""
    return {
        "text of the annotations": hashlib.sha256(json.dumps(annotations).encode()).hexdigest(),
        "state of the visual encoder": state_digest(visual),
        "state of the audio encoder": "" if audio is None else state_digest(audio),
    }


def state_digest(network: nn.Module) -> str:
    """A digest of a network's parameters and buffers."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(f"{name} {list(value.shape)} {value.dtype}".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def file_identity(file: Path | None) -> list[str | int] | None:
    """Name, size in bytes and time of change: another wherever a file's content is, but for a forgery."""
    if file is None:
        return None
    status = file.stat()
    return [file.name, status.st_size, status.st_mtime_ns]


def video_files(directory: Path, annotations: list[Annotation]) -> list[Path | None]:
    """Each clip's file, by its video's name without the ending; None where there is none.

    Where several are called so, subtitles, sound or a thumbnail lie beside the video: the one with moving pictures is
    taken, with sound if there is such a one, and the first by alphabet among equals.

    Raises:
        InputError: no such directory, no file of any clip in it, or a video that is named with its ending.
    """
    if not directory.is_dir():
        raise InputError(f"no directory of videos {directory}")
    candidates: dict[str, list[Path]] = {annotation.video: [] for annotation in annotations}
    for file in sorted(directory.iterdir()):
        if file.stem in candidates and file.is_file():
            candidates[file.stem].append(file)
    by_name = {
        video: max(files, key=streams_in) if len(files) > 1 else next(iter(files), None)
        for video, files in candidates.items()
    }
    ended = next((video for video, file in by_name.items() if file is None and (directory / video).is_file()), None)
    if ended:
        raise InputError(f"the annotations name {directory / ended} with its ending; write {Path(ended).stem} there")
    if not any(by_name.values()):
        raise InputError(
            f"{directory} holds no file called as a video of the annotations, such as {annotations[0].video}"
        )
    return [by_name[annotation.video] for annotation in annotations]
