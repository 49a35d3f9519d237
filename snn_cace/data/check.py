"""What a directory holds and every problem in it, for `snn-cace data check`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data import ave
from snn_cace.data.labels import (
    CLASS_NAMES,
    categories,
    class_names,
    labels_from_annotations,
    read_annotations,
    renumbering,
)
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.base import Layout, check_one_hot
from snn_cace.errors import InputError


@dataclass
class Summary:
    """Lines that describe the directory, and one line per problem."""

    lines: list[str]
    problems: list[str]


def check_directory(directory: str | Path) -> Summary:
    """Read everything once, chunk by chunk. Never raises InputError: what it would say is a problem."""
    directory = Path(directory)
    summary = Summary([], [])
    try:
        layout = ave.read_layout(directory)
    except InputError as error:
        summary.problems += all_problems(directory, str(error))
        check_shared_videos(directory, summary)
        return summary
    summary.lines += describe(layout)
    for name in ("visual", "audio"):
        check_finite(directory / ave.FILES[name], summary)
    labels = check_labels(directory, summary)
    if labels is not None:
        names = check_names(directory, layout.classes, summary)
        summary.lines += describe_classes(labels.astype(bool), names[: layout.classes])
        check_annotations(directory, labels, names, summary)
        check_weak_files(directory, layout, labels, summary)
    check_splits(layout, summary)
    check_shared_videos(directory, summary)
    return summary


def check_reader(directory: str | Path, reader: str) -> Summary:
    """The same of a directory that another reader reads. Of each array, the first problem."""
    summary = Summary([], [])
    try:
        found = open_reader(DataConfig(directory=str(directory), reader=reader))
        summary.lines += describe(found.layout)
        found.refuse_shared_rows()
    except InputError as error:
        summary.problems.append(str(error))
        return summary
    rows, labels = np.arange(found.layout.clips), []
    for name in ("visual", "audio", "labels"):
        try:
            for piece, values in found.scan(name, rows):
                found.checked(name, rows[piece], values)
                labels += [values.astype(bool)] if name == "labels" else []
        except InputError as error:
            summary.problems.append(str(error))
            labels = []
    if labels:
        summary.lines += describe_classes(np.concatenate(labels), found.class_names()[:-1])
    return summary


def all_problems(directory: Path, first: str) -> list[str]:
    """Every file that cannot be opened, or what `read_layout` said where all can."""
    problems = []
    files: list[tuple[Path, tuple[str, ...]]] = [(directory / name, ave.DATASET_NAMES) for name in ave.FILES.values()]
    files += [(ave.order_path(directory, split), ave.ORDER_NAMES) for split in ave.SPLITS]
    for path, names in files:
        try:
            with ave.opened(path, names):
                pass
        except InputError as error:
            problems.append(str(error))
    return problems or [first]


def describe(layout: Layout) -> list[str]:
    shape = [layout.clips, layout.segments]
    visual = [*shape, layout.height, layout.width, layout.visual_channels]
    splits = ", ".join(f"{split} {len(order)}" for split, order in layout.orders.items())
    return [
        f"visual features  {visual} {layout.dtypes.get('visual', '')}".rstrip(),
        f"audio features   {[*shape, layout.audio_channels]} {layout.dtypes.get('audio', '')}".rstrip(),
        f"labels           {[*shape, layout.classes + 1]} {layout.dtypes.get('labels', '')}".rstrip(),
        f"splits           {splits} of {layout.clips} clips",
    ]


def check_finite(path: Path, summary: Summary) -> None:
    with ave.opened(path) as dataset:
        for rows in ave.row_chunks(dataset):
            try:
                ave.read_rows(dataset, rows, path)
            except InputError as error:
                summary.problems.append(str(error))
                return


def check_labels(directory: Path, summary: Summary) -> np.ndarray | None:
    path = directory / ave.FILES["labels"]
    try:
        with ave.opened(path) as dataset:
            labels = ave.read_rows(dataset, slice(None), path)
    except InputError as error:
        summary.problems.append(str(error))
        return None
    try:
        check_one_hot(labels, np.arange(len(labels)), lambda row: path)
    except InputError as error:
        summary.problems.append(str(error))
    return labels


def check_names(directory: Path, classes: int, summary: Summary) -> list[str]:
    try:
        return class_names(directory, classes)
    except InputError as error:
        if str(directory / CLASS_NAMES) in str(error):  # the annotations are checked next, and their problem told there
            summary.problems.append(str(error))
        return [f"class {index}" for index in range(classes)]


def describe_classes(labels: np.ndarray, names: list[str]) -> list[str]:
    """labels `[N, T, C + 1]` of bool, background being the one beyond the events' names."""
    background = float(labels[..., -1].mean())
    silent = int(labels[..., -1].all(1).sum())
    lines = [f"background       {100 * background:.1f} % of segments; {silent} clips without any event"]
    lines.append("class            clips  segments")
    for index, name in enumerate(names):
        present = labels[..., index]
        lines.append(f"  {index:2d} {name:28.28s} {int(present.any(1).sum()):5d} {int(present.sum()):6d}")
    return lines


def check_annotations(directory: Path, labels: np.ndarray, names: list[str], summary: Summary) -> None:
    """Whether the labels are those of the annotations, in their order of categories or in another."""
    path = directory / ave.ANNOTATIONS
    if not path.is_file():
        return
    try:
        annotations = read_annotations(path, labels.shape[1])
    except InputError as error:
        summary.problems.append(str(error))
        return
    made, found = labels_from_annotations(annotations, labels.shape[1]), categories(annotations)
    if made.shape != labels.shape:
        summary.problems.append(
            f"{path} gives labels {list(made.shape)}, {ave.FILES['labels']} has {list(labels.shape)}"
        )
        return
    order = renumbering(labels, made)
    here = made if order is None else made[..., [*order, len(found)]]
    if (here != labels).any():
        rows = np.flatnonzero((here != labels).any((1, 2)))
        summary.problems.append(
            f"{path} and {ave.FILES['labels']} disagree in {len(rows)} rows, first in row {rows[0]}"
        )
    if order is None:
        return
    if (order != np.arange(len(order))).any():
        summary.lines.append(
            f"numbering        {ave.FILES['labels']} numbers the classes in another order than {ave.ANNOTATIONS} first "
            "names them; the names above follow the labels"
        )
    for index, category in enumerate(order):
        if (directory / CLASS_NAMES).is_file() and names[index] != found[category] and labels[..., index].any():
            summary.problems.append(
                f"{directory / CLASS_NAMES} calls class {index} '{names[index]}', {path} '{found[category]}'"
            )
            return


def check_weak_files(directory: Path, layout: Layout, labels: np.ndarray, summary: Summary) -> None:
    """What weak supervision may read besides: labels of clips, with every event of their segments, and background
    clips.
    """
    try:
        of_clips = ave.read_clip_labels(directory, layout)
        if of_clips is not None:
            events = labels[..., :-1].max(1)
            wrong = np.flatnonzero((of_clips[:, :-1] < events).any(1))
            if wrong.size:
                summary.problems.append(
                    f"{directory / ave.CLIP_LABELS} lacks an event that {ave.FILES['labels']} has "
                    f"in {len(wrong)} clips, first in row {wrong[0]}"
                )
            summary.lines.append(f"labels of clips  {ave.CLIP_LABELS}")
        if any((directory / file).exists() for file in ave.BACKGROUND_FILES.values()):
            count = ave.background_clips(directory, layout)
            summary.lines.append(f"background clips {count}, for data.background_clips")
            for file in ave.BACKGROUND_FILES.values():
                check_finite(directory / file, summary)
    except InputError as error:
        summary.problems.append(str(error))


def check_splits(layout: Layout, summary: Summary) -> None:
    for split, order in layout.orders.items():
        repeated = len(order) - len(np.unique(order))
        if repeated:
            summary.problems.append(f"{split}_order.h5 names {repeated} rows twice")
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = np.intersect1d(layout.orders[first], layout.orders[second])
        if shared.size:
            summary.problems.append(f"{first} and {second} share {shared.size} rows, row {shared[0]} first")


def check_shared_videos(directory: Path, summary: Summary) -> None:
    """Say how many videos have clips in two splits: a network is tested on what it was trained on.

    It is no problem, since AVE's own splits share some, and results are compared on these.
    """
    try:
        annotations = read_annotations(directory / ave.ANNOTATIONS)
        orders = {split: ave.read_order(directory, split, len(annotations)) for split in ave.SPLITS}
    except InputError:  # told elsewhere
        return
    videos = {split: {annotations[row].video for row in order} for split, order in orders.items()}
    pairs = {pair: videos[pair[0]] & videos[pair[1]] for pair in combinations(ave.SPLITS, 2)}
    shared = set().union(*pairs.values())
    if shared:
        counts = ", ".join(f"{len(found)} in {first} and {second}" for (first, second), found in pairs.items() if found)
        summary.lines.append(f"shared videos    {len(shared)} lie in two splits, {min(shared)} for one: {counts}")
