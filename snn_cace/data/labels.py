"""Segment labels from AVE's annotations: `Category&VideoID&Quality&Start&End`, one clip a line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from snn_cace.errors import InputError

SEGMENTS = 10


class Annotation(NamedTuple):
    """One clip: its event's category, and the half-open range of segments it lasts."""

    category: str
    video: str
    quality: str
    start: int
    end: int


def read_annotations(path: str | Path, segments: int = SEGMENTS) -> list[Annotation]:
    """The clips of an annotations file, in its order; a header line is passed over.

    Raises:
        InputError: no such file, or a line that is not an annotation, with its number.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no annotations file {path}")
    annotations = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or (number == 1 and line.startswith("Category&")):
            continue
        annotations.append(parse_line(line, segments, f"{path}, line {number}"))
    if not annotations:
        raise InputError(f"{path} holds no annotation")
    return annotations


def parse_line(line: str, segments: int, where: str) -> Annotation:
    fields = line.strip().split("&")
    if len(fields) != 5 or not (fields[3].isdigit() and fields[4].isdigit()):
        raise InputError(f"{where}: expected Category&VideoID&Quality&Start&End, not '{line.strip()}'")
    start, end = int(fields[3]), int(fields[4])
    if not 0 <= start <= end <= segments:
        raise InputError(f"{where}: segments {start} to {end} do not lie in a clip of {segments}")
    return Annotation(fields[0], fields[1], fields[2], start, end)


def categories(annotations: list[Annotation]) -> list[str]:
    """Category names in the order of first appearance, which is the order of class indices."""
    return list(dict.fromkeys(annotation.category for annotation in annotations))


def labels_from_annotations(annotations: list[Annotation], segments: int = SEGMENTS) -> np.ndarray:
    """One-hot labels `[N, segments, C + 1]`, background last: segments `start ... end - 1` are the event."""
    names = categories(annotations)
    classes = np.full((len(annotations), segments), len(names))
    for row, annotation in enumerate(annotations):
        classes[row, annotation.start : annotation.end] = names.index(annotation.category)
    return np.eye(len(names) + 1, dtype=np.float32)[classes]
