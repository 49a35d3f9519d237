"""AVE's layout on disk: three HDF5 files of clips and three of row numbers, read, checked and written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import h5py
import numpy as np

from snn_cace.data.readers.base import CHUNK_BYTES, SPLITS, Layout, check_finite
from snn_cace.errors import InputError, one_line
from snn_cace.files import replacing

FILES = {"visual": "visual_feature.h5", "audio": "audio_feature.h5", "labels": "labels.h5"}
SHAPES = {"visual": "[N, T, H, W, Cv]", "audio": "[N, T, Ca]", "labels": "[N, T, C + 1]"}
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


def read_rows(dataset: h5py.Dataset, rows: np.ndarray, path: Path) -> np.ndarray:
    """Rows of a dataset, one by one in the order given; an InputError naming the file where one cannot be read."""
    values = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype.newbyteorder("="))
    for place, row in enumerate(rows):
        values[place] = read_values(dataset, int(row), path)
    return values


def read_labels(path: Path) -> np.ndarray:
    """The whole of a file of labels; an InputError naming it where it cannot be read or holds NaN or infinity."""
    with opened(path) as dataset:
        labels = read_values(dataset, slice(None), path)
    check_finite(labels, np.arange(len(labels)), lambda row: path)
    return labels


def read_values(dataset: h5py.Dataset, rows: slice | int | tuple[()], path: Path) -> np.ndarray:
    """What lies at `rows` of a dataset; an InputError naming the file where it cannot be read."""
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
    for name, want in SHAPES.items():
        path = directory / FILES[name]
        with opened(path) as dataset:
            shapes[name], dtypes[name] = dataset.shape, str(dataset.dtype)
        if len(shapes[name]) != len(want.split(",")) or 0 in shapes[name]:
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
    sizes = (clips, segments, height, width, visual_channels, shapes["audio"][2], shapes["labels"][2] - 1)
    return Layout(*sizes, {split: read_order(directory, split, clips) for split in SPLITS}, dtypes)


def order_path(directory: Path, split: str) -> Path:
    return directory / f"{split}_order.h5"


def read_order(directory: Path, split: str, clips: int) -> np.ndarray:
    """The row numbers of a split."""
    path = order_path(directory, split)
    with opened(path, ORDER_NAMES) as dataset:
        if dataset.size > clips:
            raise InputError(f"{path} names {dataset.size} rows, but the files have {clips}")
        order = np.asarray(read_values(dataset, (), path)).ravel()
    if order.size == 0 or not (np.isfinite(order) & (order == np.floor(order))).all():
        raise InputError(f"{path} should hold row numbers, one or more, not {order.size} of {order.dtype}")
    outside = order[(order < 0) | (order >= clips)]
    if outside.size:
        raise InputError(f"{path} names row {outside[0]:.0f}, but the files have rows 0 to {clips - 1}")
    return order.astype(np.int64)


def write_dataset(
    path: Path, shape: tuple[int, ...], chunks: Iterator[np.ndarray], dtype: str, name: str = DATASET_NAMES[0]
) -> None:
    """Write one HDF5 file piece by piece; whole or not at all."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        dataset = file.create_dataset(name, shape, dtype=dtype)
        start = 0
        for chunk in chunks:
            dataset[start : start + len(chunk)] = chunk
            start += len(chunk)


def write_array(path: Path, values: np.ndarray, name: str = DATASET_NAMES[0]) -> None:
    write_dataset(path, values.shape, iter([values]), str(values.dtype), name)


def write_orders(directory: Path, orders: dict[str, np.ndarray]) -> None:
    for split, order in orders.items():
        write_array(order_path(directory, split), order.astype(np.int64), ORDER_NAMES[0])


def refuse_existing(directory: Path) -> None:
    """Raise InputError if any file of the layout is there already."""
    names = [*FILES.values(), *(order_path(directory, split).name for split in SPLITS)]
    present = [name for name in names if (directory / name).exists()]
    if present:
        raise InputError(f"{directory} holds {present[0]} already; choose an empty directory")
