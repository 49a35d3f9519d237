"""What a directory holds and every problem in it, for `snn-cace data check`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data import ave
from snn_cace.data.labels import CLASS_NAMES, categories, labels_from_annotations, read_annotations, renumbering
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.ave import AveReader
from snn_cace.data.readers.base import Layout, Reader
from snn_cace.errors import InputError


@dataclass
class Summary:
    """Lines that describe the directory, and one line per problem."""

    lines: list[str]
    problems: list[str]

    @contextmanager
    def told(self) -> Iterator[None]:
        """What an InputError within says is a problem."""
        try:
            yield
        except InputError as error:
            self.problems.append(str(error))


def check_directory(directory: str | Path, reader: str = "ave") -> Summary:
    """Read everything once, piece by piece, by the reader of this name; of each array, the first problem.

    Never raises InputError: what it would say is a problem.
    """
    directory = Path(directory)
    summary = Summary([], [])
    try:
        found = open_reader(DataConfig(directory=str(directory), reader=reader))
    except InputError as error:
        summary.problems += all_problems(directory, str(error)) if reader == "ave" else [str(error)]
    else:
        summary.lines += describe(found.layout)
        check_arrays(found, summary)
        check_splits(found, summary)
    if reader == "ave":
        check_shared_videos(directory, summary)
    return summary


def check_arrays(found: Reader, summary: Summary) -> None:
    """Whether features are numbers and labels are labels; what these say, and whether other files agree with them."""
    clips = found.layout.clips
    for name in ("visual", "audio"):
        check_features(found, name, clips, summary)
    labels = None
    with summary.told():
        pieces = found.scan_checked("labels", np.arange(clips))
        labels = np.concatenate([values.astype(bool) for _, values in pieces])
    if labels is None:
        return
    names = check_names(found, summary)
    summary.lines += describe_classes(labels, names, found.layout.lengths)
    summary.lines += describe_late_events(found)
    if isinstance(found, AveReader):
        with summary.told():
            check_annotations(found.directory, labels, names, summary)
        with summary.told():
            check_weak_files(found, labels, summary)


def check_features(found: Reader, name: str, clips: int, summary: Summary) -> None:
    with summary.told():
        for _ in found.scan_checked(name, np.arange(clips)):
            pass


def all_problems(directory: Path, first: str) -> list[str]:
    """Every file that cannot be opened, or what `read_layout` said where all can."""
    summary = Summary([], [])
    files = [(directory / name, ave.DATASET_NAMES) for name in ave.FILES.values()]
    for path, names in [*files, *((ave.order_path(directory, split), ave.ORDER_NAMES) for split in ave.SPLITS)]:
        with summary.told(), ave.opened(path, names):
            pass
    return summary.problems or [first]


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


def check_names(found: Reader, summary: Summary) -> list[str]:
    """The events' names."""
    try:
        return found.class_names()[:-1]
    except InputError as error:
        if CLASS_NAMES in str(error):  # the annotations are checked next, and their problem told there
            summary.problems.append(str(error))
        return [f"class {index}" for index in range(found.layout.classes)]


def describe_classes(labels: np.ndarray, names: list[str], lengths: np.ndarray | None) -> list[str]:
    """labels `[N, T, C + 1]` of bool, background being the one beyond the events' names; lengths `[N]`, the segments of
    each clip where they differ."""
    own = np.ones(labels.shape[:2], bool) if lengths is None else np.arange(labels.shape[1]) < lengths[:, None]
    background = float(labels[own][:, -1].mean())
    silent = int(labels[..., -1].all(1).sum())
    lines = [f"background       {100 * background:.1f} % of segments; {silent} clips without any event"]
    lines.append("class            clips  segments")
    for index, name in enumerate(names):
        present = labels[..., index]
        lines.append(f"  {index:2d} {name:28.28s} {int(present.any(1).sum()):5d} {int(present.sum()):6d}")
    return lines


def describe_late_events(found: Reader) -> list[str]:
    """How many events begin where their clip has ended, so that no segment has them; nothing where none does."""
    late = []
    for row in range(found.layout.clips):
        timeline = found.timeline(row)
        if timeline is not None:
            late += [row] * int((timeline.events[:, 0] >= timeline.borders[-1]).sum())
    if not late:
        return []
    return [f"late events      {len(late)} begin after their clip's end, first in row {late[0]}; no segment has them"]


def check_annotations(directory: Path, labels: np.ndarray, names: list[str], summary: Summary) -> None:
    """Whether the labels are those of the annotations, in their order of categories or in another."""
    path = directory / ave.ANNOTATIONS
    if not path.is_file():
        return
    annotations = read_annotations(path, labels.shape[1])
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


def check_weak_files(found: AveReader, labels: np.ndarray, summary: Summary) -> None:
    """What weak supervision may read besides: labels of clips, with every event of their segments, and background
    clips.
    """
    of_clips = found.clip_labels()
    if of_clips is not None:
        wrong = np.flatnonzero((of_clips[:, :-1] < labels[..., :-1].any(1)).any(1))
        if wrong.size:
            summary.problems.append(
                f"{found.source('clip_labels')} lacks an event that {ave.FILES['labels']} has "
                f"in {len(wrong)} clips, first in row {wrong[0]}"
            )
        summary.lines.append(f"labels of clips  {ave.CLIP_LABELS}")
    if any((found.directory / file).exists() for file in ave.BACKGROUND_FILES.values()):
        count = found.background_clips()
        summary.lines.append(f"background clips {count}, for data.background_clips")
        for name in ave.BACKGROUND_FILES:
            check_features(found, f"background_{name}", count, summary)


def check_splits(found: Reader, summary: Summary) -> None:
    orders = found.layout.orders
    for split, order in orders.items():
        repeated = len(order) - len(np.unique(order))
        if repeated:
            summary.problems.append(f"{found.source(split).name} names {repeated} rows twice")
    for first, second in combinations(orders, 2):
        shared = np.intersect1d(orders[first], orders[second])
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
