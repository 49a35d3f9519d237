"""AVE's layout on disk: three HDF5 files of clips and three of row numbers, read, checked and written."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import h5py
import numpy as np

from snn_cace.data.readers.base import CHUNK_BYTES, SAMPLED_ROWS, SPLITS, Layout, check_finite
from snn_cace.errors import InputError, one_line
from snn_cace.files import replacing

FILES = {"visual": "visual_feature.h5", "audio": "audio_feature.h5", "labels": "labels.h5"}
CLIP_LABELS = "mil_labels.h5"
"""Labels of clips `[N, C + 1]`, background last, for weak supervision; optional."""
BACKGROUND_FILES = {"visual": "visual_feature_noisy.h5", "audio": "audio_feature_noisy.h5"}
"""Features of clips without any event, for weak supervision; optional."""
DATASET_NAMES = ("avadataset", "dataset")
ORDER_NAMES = ("order",)
ANNOTATIONS = "Annotations.txt"
EXTRACTION = "extraction.json"
"""How `snn-cace extract` made the features, and what its encoders cost."""
RECORDINGS = "recordings.npz"
"""Which recording each segment of each row holds, by kind, where clips share them: integers `[N, T]`, -1 for none."""
MOST_COMPRESSION = 2000
"""Bytes of values per byte of their file that no compression reaches: deflate's most is 1032."""


@contextmanager
def opened(path: Path, names: tuple[str, ...] = DATASET_NAMES) -> Iterator[h5py.Dataset]:
    """The dataset in an HDF5 file that goes by one of `names`.

    Raises:
        InputError: the file is missing, not readable as HDF5, or holds no such dataset.
    """
    if not path.is_file():
        labels = f"make it from {ANNOTATIONS} with: snn-cace data labels {path.parent}"
        other = "give the directory of AVE's files, or name another layout by data.reader (docs/how-to/data.md)"
        hint = labels if path.name == FILES["labels"] else other if path.name == FILES["visual"] else ""
        raise InputError("; ".join(filter(None, (f"no file {path}", hint))))
    dataset = find_dataset(path, names)
    with dataset.file:
        yield dataset


def find_dataset(path: Path, names: tuple[str, ...] = DATASET_NAMES) -> h5py.Dataset:
    """The dataset in an HDF5 file that goes by one of `names`; `dataset.file` is its caller's to close.

    Raises:
        InputError: locked, not readable as HDF5 (whatever h5py raises: damaged headers come as many errors), no such
            dataset, a link out of the file, values that are not numbers, or more of them than the file can hold.
    """
    try:
        file = h5py.File(path, "r")
    except Exception as error:
        raise InputError(f"{path} {unopened(one_line(error))}") from None
    try:
        found = next((name for name in names if isinstance(file.get(name, getlink=True), h5py.HardLink)), None)
        if found is None or not isinstance(file[found], h5py.Dataset):
            raise InputError(
                f"{path} holds {list(file)}, expected a dataset named {' or '.join(names)}, in the file itself, no link"
            )
        dataset = file[found]
        check_storage(dataset, path)
    except InputError:
        file.close()
        raise
    except Exception as error:
        file.close()
        raise InputError(f"{path} cannot be read (damaged?): {one_line(error)}; copy it again") from None
    return dataset


def check_storage(dataset: h5py.Dataset, path: Path) -> None:
    """Raise InputError for values that lie elsewhere, that are no numbers, or that the file is too small to hold."""
    if dataset.is_virtual or dataset.external:
        raise InputError(f"{path}: {dataset.name} keeps its values in other files; copy them into one")
    if dataset.shape is None or dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8:
        raise InputError(f"{path}: {dataset.name} holds {dataset.dtype}, expected an array of numbers")
    size, stored = prod(dataset.shape) * dataset.dtype.itemsize, path.stat().st_size
    if size > MOST_COMPRESSION * stored:
        raise InputError(f"{path} declares {size} bytes {list(dataset.shape)}, but has {stored}; copy it again")


def unopened(said: str) -> str:
    """What ails a file that HDF5 does not open, of which it `said` so, and what to do."""
    if "unable to lock file" in said:
        return (
            "is locked: another process has it open to write, or its file system has no locks. Wait for that process, "
            f"or, where there is none, set HDF5_USE_FILE_LOCKING=FALSE ({said})"
        )
    if "already open for" in said:
        return f"was left open by a process that wrote it, or writes it still: wait for it, or copy it again ({said})"
    return f"is not a readable HDF5 file (truncated?): {said}; copy it again"


def read_rows(dataset: h5py.Dataset, rows: slice | int, path: Path) -> np.ndarray:
    """Rows of a dataset; an InputError naming the file where they cannot be read or hold NaN or infinity."""
    values = read_values(dataset, rows, path)
    first = rows.start or 0 if isinstance(rows, slice) else rows
    several = values if isinstance(rows, slice) else values[None]
    check_finite(several, first + np.arange(max(1, len(several))), lambda row: path)
    return values


def read_some(dataset: h5py.Dataset, piece: slice, rows: np.ndarray, path: Path) -> np.ndarray:
    """The `rows`, in order, of a piece of a dataset: in one read where half of the piece is wanted, else one by one.

    Raises:
        InputError: they cannot be read.
    """
    if 2 * len(rows) >= piece.stop - piece.start:
        values = read_values(dataset, piece, path)[rows - piece.start]
    else:
        values = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype)
        for place, row in enumerate(rows):
            values[place] = read_values(dataset, int(row), path)
    return values


def read_values(dataset: h5py.Dataset, rows: slice | int | tuple[()], path: Path) -> np.ndarray:
    try:
        values = dataset[rows]
        return values.astype(values.dtype.newbyteorder("="), copy=False)  # PyTorch takes no other byte order
    except Exception as error:
        raise InputError(f"{path}: rows {rows} cannot be read (truncated?): {one_line(error)}; copy it again") from None


def row_chunks(dataset: h5py.Dataset) -> Iterator[slice]:
    bytes_per_row = max(1, int(np.prod(dataset.shape[1:])) * dataset.dtype.itemsize)
    step = max(1, CHUNK_BYTES // bytes_per_row)
    for start in range(0, dataset.shape[0], step):
        yield slice(start, min(start + step, dataset.shape[0]))


def read_layout(directory: str | Path) -> Layout:
    """The layout of an AVE directory, its shapes and row numbers checked against each other.

    Raises:
        InputError: the first thing that does not fit, naming file and shape.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"no directory {directory}; it should hold {', '.join(FILES.values())} and the split orders")
    shapes, dtypes = {}, {}
    for name, ranks in (("visual", 5), ("audio", 3), ("labels", 3)):
        path = directory / FILES[name]
        with opened(path) as dataset:
            shapes[name], dtypes[name] = dataset.shape, str(dataset.dtype)
        want = {"visual": "[N, T, H, W, Cv]", "audio": "[N, T, Ca]", "labels": "[N, T, C + 1]"}[name]
        if len(shapes[name]) != ranks or 0 in shapes[name]:
            raise InputError(f"{path} has shape {list(shapes[name])}, expected {want}")
    for name in ("audio", "labels"):
        if shapes[name][:2] != shapes["visual"][:2]:
            raise InputError(
                f"{directory / FILES[name]} has shape {list(shapes[name])} and {FILES['visual']} "
                f"{list(shapes['visual'])}: clips and segments, the first two, must agree"
            )
    if shapes["labels"][2] < 2:
        raise InputError(
            f"{directory / FILES['labels']} has {shapes['labels'][2]} class; background is the last of two or more"
        )
    clips, segments, height, width, visual_channels = shapes["visual"]
    return Layout(
        clips,
        segments,
        height,
        width,
        visual_channels,
        shapes["audio"][2],
        shapes["labels"][2] - 1,
        {split: read_order(directory, split, clips) for split in SPLITS},
        dtypes,
    )


def background_clips(directory: Path, layout: Layout) -> int:
    """How many clips without any event the directory holds beside its others.

    Raises:
        InputError: a file is missing, or its clips are of another shape than the others.
    """
    clips = {}
    for name, file in BACKGROUND_FILES.items():
        path = directory / file
        with opened(path) as dataset:
            clips[name], *shape = dataset.shape or (0,)
        of_one = {"visual": [layout.height, layout.width, layout.visual_channels], "audio": [layout.audio_channels]}
        if shape != [layout.segments, *of_one[name]] or not clips[name]:
            want = [layout.segments, *of_one[name]]
            raise InputError(f"{path} holds clips of shape {shape}, those of {FILES[name]} have {want}")
    if clips["visual"] != clips["audio"]:
        raise InputError(
            f"{directory}: {BACKGROUND_FILES['visual']} has {clips['visual']} clips, {BACKGROUND_FILES['audio']} "
            f"{clips['audio']}; they must be the same"
        )
    return clips["visual"]


def read_clip_labels(directory: Path, layout: Layout) -> np.ndarray | None:
    """Labels of clips `[N, C + 1]`, background last; None in a directory that has none.

    Raises:
        InputError: of another shape than its other files, or a clip without a class.
    """
    path, want = directory / CLIP_LABELS, (layout.clips, layout.classes + 1)
    if not path.is_file():
        return None
    with opened(path) as dataset:
        if dataset.shape != want:
            raise InputError(f"{path} has shape {list(dataset.shape)}, expected {list(want)}, background last")
        labels = read_rows(dataset, slice(None), path)
    without = np.flatnonzero(((labels != 0) & (labels != 1)).any(1) | (labels.sum(1) <= 0))
    if without.size:
        row = without[0]
        raise InputError(
            f"{path}: each clip needs one class or more, as ones among zeros; row {row} has {labels[row].tolist()}"
        )
    return labels


def fingerprint(directory: str | Path) -> str:
    """A digest of labels, splits, shapes and types, and of features in `SAMPLED_ROWS` evenly spaced rows: another
    wherever these are.
    """
    directory = Path(directory)
    found = hashlib.sha256()
    for split in SPLITS:
        with opened(order_path(directory, split), ORDER_NAMES) as dataset:
            found.update(np.asarray(dataset[()]).tobytes())
    others = {"clip_labels": CLIP_LABELS} | {f"background {name}": file for name, file in BACKGROUND_FILES.items()}
    for name, file in (FILES | {name: file for name, file in others.items() if (directory / file).is_file()}).items():
        path = directory / file
        with opened(path) as dataset:
            found.update(f"{name} {dataset.shape} {dataset.dtype}".encode())
            rows = range(len(dataset))
            if "labels" not in name:
                rows = np.unique(np.linspace(0, len(dataset) - 1, SAMPLED_ROWS).astype(int)).tolist()
            for row in rows:
                found.update(np.asarray(read_values(dataset, row, path)).tobytes())
    return found.hexdigest()


def order_path(directory: Path, split: str) -> Path:
    return directory / f"{split}_order.h5"


def read_order(directory: Path, split: str, clips: int) -> np.ndarray:
    """The row numbers of a split."""
    path = order_path(directory, split)
    with opened(path, ORDER_NAMES) as dataset:
        if dataset.size > clips:
            raise InputError(f"{path} names {dataset.size} rows, but the files have {clips}")
        order = np.asarray(read_values(dataset, (), path)).ravel()
    if order.size == 0 or not np.issubdtype(order.dtype, np.number) or not is_whole(order):
        raise InputError(f"{path} should hold row numbers, one or more, not {order.size} of {order.dtype}")
    order = order.astype(np.int64)
    outside = order[(order < 0) | (order >= clips)]
    if outside.size:
        raise InputError(f"{path} names row {outside[0]}, but the files have rows 0 to {clips - 1}")
    return order


def is_whole(values: np.ndarray) -> bool:
    """Whether all numbers are whole and finite."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(values).all()) and not (values != values.astype(np.int64)).any()


def write_dataset(path: Path, shape: tuple[int, ...], chunks: Iterator[np.ndarray], dtype: str, name: str) -> None:
    """Write one HDF5 file piece by piece; whole or not at all."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        dataset = file.create_dataset(name, shape, dtype=dtype)
        start = 0
        for chunk in chunks:
            dataset[start : start + len(chunk)] = chunk
            start += len(chunk)


def write_orders(directory: Path, orders: dict[str, np.ndarray]) -> None:
    for split, order in orders.items():
        write_dataset(order_path(directory, split), order.shape, iter([order]), "int64", ORDER_NAMES[0])


def refuse_existing(directory: Path) -> None:
    """Raise InputError if any file of the layout is there already."""
    names = [*FILES.values(), *(order_path(directory, split).name for split in SPLITS)]
    present = [name for name in names if (directory / name).exists()]
    if present:
        raise InputError(f"{directory} holds {present[0]} already; choose an empty directory")


def encoder_macs(directory: Path) -> dict[str, float] | None:
    """MACs per clip of the encoders that made the features, by modality; None where nobody has said."""
    path = directory / EXTRACTION
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("encoder_macs_per_clip")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not what extract wrote: {error}; extract again, or remove it") from None


def shared_recordings(directory: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    """By kind, which recordings the segments of `rows` hold; nothing where no file says so.

    Raises:
        InputError: the file does not describe these rows.
    """
    path = directory / RECORDINGS
    if not path.is_file():
        return {}
    try:
        with np.load(path) as stored:
            return {kind: stored[kind][rows] for kind in stored.files}
    except (OSError, ValueError, IndexError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} does not say which recordings each row holds: {error}; remove it") from None
