"""Tables and arrays as published data sets have them: what several readers read them by."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snn_cace.data.readers.base import check_finite
from snn_cace.errors import InputError, one_line


def folder_within(directory: Path, folder: str) -> Path:
    """The folder of a directory, or the directory itself where it has none."""
    return directory / folder if (directory / folder).is_dir() else directory


def read_rows(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[tuple[str, ...]]:
    """These columns of a table, without blanks around them; an InputError where it lacks one, or cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not readable as a table: {one_line(error)}") from None
    if not rows or not {*columns} <= rows[0].keys():
        raise InputError(f"{path} should hold clips, with columns {', '.join(columns)}")
    return [tuple((row[column] or "").strip() for column in columns) for row in rows]


def refuse_missing(directory: Path, names: Sequence[str], table: Path) -> None:
    """Raise InputError where clips of the table have no file."""
    there = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    missing = [name for name in names if name not in there]
    if missing:
        raise InputError(
            f"{directory} lacks {missing[0]}, and {len(missing) - 1} more of {len(names)}: extract them, or leave "
            f"these clips out of {table}"
        )


def read_features(path: Path) -> np.ndarray:
    """Features `[t, C]` of a file, read where they are used.

    Raises:
        InputError: naming the file, which is damaged, or holds something else.
    """
    try:
        found = np.load(path, mmap_mode="r")
    except Exception as error:  # a damaged header raises whatever it does
        raise InputError(f"{path} is no file of an array: {one_line(error)}") from None
    if found.ndim != 2 or not found.size or found.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {found.dtype} {list(found.shape)}; expected numbers [t, C]")
    return found


def finite_features(path: Path) -> np.ndarray:
    """The same; an InputError that names the row where they hold NaN or infinity."""
    found = read_features(path)
    check_finite(found, np.arange(len(found)), lambda row: path)
    return found
