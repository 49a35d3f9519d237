"""Segment labels from AVE's annotations: `Category&VideoID&Quality&Start&End`, one clip a line."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snn_cace.data import ave
from snn_cace.errors import InputError
from snn_cace.files import write_text

CLASS_NAMES = "classes.txt"
"""An optional file of a directory: the classes' names, one a line, in the labels' order."""
BACKGROUND = "background"
SEGMENTS = 10
UNSEEN = dict.fromkeys((0x200B, 0x2060, 0xFEFF))
"""Characters without any width, which editors and web pages leave in a text: no name differs by them."""
SEGMENT_NUMBER = re.compile("[0-9]{1,9}")


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
        InputError: no such file, a line that is not an annotation, or a category that differs from an earlier one only
            in case or blanks; with the line's number.
    """
    return list(numbered_annotations(path, segments).values())


def numbered_annotations(path: str | Path, segments: int = SEGMENTS) -> dict[int, Annotation]:
    """As `read_annotations`, by the number of the line, from 1."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no annotations file {path}")
    annotations: dict[int, Annotation] = {}
    spellings: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line or (number == 1 and line.partition("&")[0].strip() == "Category"):
            continue
        where = f"{path}, line {number}"
        annotations[number] = parse_line(line, segments, where)
        category = annotations[number].category
        other = spellings.setdefault(spelling(category), category)
        if other != category:
            raise InputError(f"{where}: '{category}' is '{other}' but for case or blanks; write them as one")
    if not annotations:
        raise InputError(f"{path} holds no annotation")
    return annotations


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8, with or without a byte order mark, bare of blanks around them and of `UNSEEN`.

    Raises:
        InputError: it is no such file.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").translate(UNSEEN).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable as text in UTF-8: {error}") from None


def spelling(name: str) -> str:
    """What names have in common that differ only in case, blanks or how a letter's accent is coded."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def parse_line(line: str, segments: int, where: str) -> Annotation:
    fields = [field.strip() for field in line.split("&")]
    if len(fields) != 5 or "" in fields[:2] or not all(SEGMENT_NUMBER.fullmatch(field) for field in fields[3:]):
        raise InputError(f"{where}: expected Category&VideoID&Quality&Start&End, not '{line}'")
    start, end = int(fields[3]), int(fields[4])
    if not 0 <= start <= end <= segments:
        raise InputError(f"{where}: segments {start} to {end} do not lie in a clip of {segments}")
    return Annotation(fields[0], fields[1], fields[2], start, end)


def write_annotations(directory: Path, annotations: list[Annotation]) -> None:
    write_text(directory / ave.ANNOTATIONS, "".join("&".join(map(str, one)) + "\n" for one in annotations))


def categories(annotations: list[Annotation]) -> list[str]:
    """Category names in the order of first appearance, which is the order of class indices."""
    return list(dict.fromkeys(annotation.category for annotation in annotations))


def labels_from_annotations(
    annotations: list[Annotation], segments: int = SEGMENTS, names: list[str] | None = None
) -> np.ndarray:
    """One-hot labels `[N, segments, C + 1]`, background last: segments `start ... end - 1` are the event.

    Classes are numbered in the order of `names`, by default that of first appearance.
    """
    names = names or categories(annotations)
    classes = np.full((len(annotations), segments), len(names))
    for row, annotation in enumerate(annotations):
        classes[row, annotation.start : annotation.end] = names.index(annotation.category)
    return np.eye(len(names) + 1, dtype=np.float32)[classes]


def renumbering(labels: np.ndarray, annotated: np.ndarray) -> np.ndarray | None:
    """For each class of `labels` the class of `annotated` that most of its segments have; None if two share one.

    Both are one-hot `[N, T, C + 1]`. Background is not renumbered, and a class without a segment takes the lowest
    number that is left.
    """
    if labels.shape != annotated.shape:
        return None
    classes = labels.shape[2] - 1
    counts = np.zeros((classes + 1, classes + 1), int)
    np.add.at(counts, (labels.argmax(-1).ravel(), annotated.argmax(-1).ravel()), 1)
    seen = counts[:classes, :classes]
    found = np.where(seen.any(1), seen.argmax(1), -1)
    used = found[found >= 0]
    if len(used) != len(np.unique(used)):
        return None
    found[found < 0] = np.setdiff1d(np.arange(classes), used)
    return found


def read_class_names(directory: Path, classes: int | None = None) -> list[str] | None:
    """The names in a directory's classes.txt, in the labels' order, background left out; None without that file.

    Raises:
        InputError: a name that is empty or there twice, or not as many names as `classes`.
    """
    path = directory / CLASS_NAMES
    if not path.is_file():
        return None
    names = read_lines(path)
    if names and names[-1] == BACKGROUND:
        names.pop()
    spellings = [spelling(name) for name in names]
    repeated = next((name for index, name in enumerate(names) if spellings[index] in spellings[:index]), None)
    if not names or "" in names or repeated or BACKGROUND in names:
        reason = f"'{repeated}' is there twice" if repeated else "a name is missing, or background is not last"
        raise InputError(f"{path} should hold one name of a class a line, in the labels' order: {reason}")
    if classes is not None and len(names) != classes:
        raise InputError(f"{path} holds {len(names)} names, but {ave.FILES['labels']} has {classes} classes")
    return names


def class_names(directory: str | Path, classes: int) -> list[str]:
    """Names by class index, background last.

    They come from the directory's classes.txt; else from its Annotations.txt, in the order in which labels.h5 numbers
    the categories; else they are numbers.

    Raises:
        InputError: classes.txt or Annotations.txt is there but does not parse or fit.
    """
    directory = Path(directory)
    names = read_class_names(directory, classes)
    if names is None and (directory / ave.ANNOTATIONS).is_file():
        labels = ave.read_labels(directory / ave.FILES["labels"])
        annotations = read_annotations(directory / ave.ANNOTATIONS, labels.shape[1])
        order = renumbering(labels, labels_from_annotations(annotations, labels.shape[1]))
        found = categories(annotations)
        names = None if order is None else [found[index] for index in order]
    return [*(names or [f"class {index}" for index in range(classes)]), BACKGROUND]


def write_labels(directory: str | Path, annotations: str | Path | None = None) -> Path:
    """Make labels.h5 from the directory's Annotations.txt, or from the file given, numbered as classes.txt says.

    Raises:
        InputError: labels.h5 is there already, or the annotations do not parse or have a class that classes.txt lacks.
    """
    directory = Path(directory)
    path = directory / ave.FILES["labels"]
    if path.exists():
        raise InputError(f"{path} is there already; move it away to make it anew")
    read = read_annotations(annotations or directory / ave.ANNOTATIONS)
    names = read_class_names(directory)
    unknown = set(categories(read)) - set(names or categories(read))
    if unknown:
        raise InputError(f"{directory / CLASS_NAMES} lacks '{min(unknown)}', a category of the annotations; add it")
    labels = labels_from_annotations(read, names=names)
    ave.write_array(path, labels)
    return path
