"""How close features extracted here are to released ones of the same clips, for `snn-cace data certify`.

Per segment and modality, over all patches and channels: the cosine, and Spearman's rank correlation. Rectified features
of any two clips are alike, so both are also taken against another clip's released features. What of that gap is closed
is the agreement, (own - other) / (1 - other): 1 for the same features, 0 where a clip is no closer to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy.stats import rankdata

from snn_cace.data import ave
from snn_cace.data.labels import Annotation, read_annotations
from snn_cace.data.readers.base import check_finite
from snn_cace.errors import InputError

SAME, CLOSE = 0.99, 0.5
"""Least agreement, by cosine and by rank, of features that are called the same, and close."""


@dataclass
class Certificate:
    """One modality: per clip compared its category, and cosine and rank correlation with its own and with another
    clip's released features, `[clips, 2]` each.
    """

    modality: str
    categories: list[str]
    own: np.ndarray
    other: np.ndarray

    def agreement(self) -> np.ndarray:
        """By cosine and by rank, in the mean over clips: `[2]`."""
        own, other = self.own.mean(0), self.other.mean(0)
        return (own - other) / np.maximum(1 - other, np.finfo(float).eps)

    @property
    def verdict(self) -> str:
        least = float(self.agreement().min())
        return "the same" if least >= SAME else "close" if least >= CLOSE else "other features"

    def lines(self) -> list[str]:
        """A row for each class, one for all, and the verdict."""
        named = np.array(self.categories)
        chosen = {name: named == name for name in dict.fromkeys(self.categories)} | {"all": np.full(len(named), True)}
        rows = [f"{self.modality:30s} clips   cosine  another's     rank  another's"]
        for name, of_class in chosen.items():
            (cosine, rank), (cosine_other, rank_other) = self.own[of_class].mean(0), self.other[of_class].mean(0)
            figures = f"{cosine:8.4f} {cosine_other:10.4f} {rank:8.4f} {rank_other:10.4f}"
            rows.append(f"  {name:28.28s} {int(of_class.sum()):5d} {figures}")
        cosine, rank = self.agreement()
        return [
            *rows,
            f"verdict: {self.modality} features are {self.verdict}: agreement {cosine:.3f}, by rank {rank:.3f}",
        ]


def certify(directory: str | Path, released: str | Path, most: int) -> list[Certificate]:
    """Hold the features in `directory` against the `released` ones of the same clips, by their annotations; of each
    modality that both have, at most so many clips, evenly spaced.

    Raises:
        InputError: no common modality, fewer than two common clips, or features of another shape.
    """
    ours, theirs = Path(directory), Path(released)
    clips = common_clips(ours, theirs)
    chosen = [clips[place] for place in np.unique(np.linspace(0, len(clips) - 1, min(most, len(clips))).astype(int))]
    files = {name: ave.FILES[name] for name in ("visual", "audio")}
    both = {name: file for name, file in files.items() if (ours / file).is_file() and (theirs / file).is_file()}
    if not both:
        raise InputError(f"{ours} and {theirs} share none of {', '.join(files.values())}")
    return [compare_files(name, ours / file, theirs / file, chosen) for name, file in both.items()]


def common_clips(ours: Path, theirs: Path) -> list[tuple[Annotation, int, int]]:
    """The clips that both directories annotate alike, with their rows in each."""
    rows = [{clip: row for row, clip in enumerate(read_annotations(path / ave.ANNOTATIONS))} for path in (ours, theirs)]
    found = [(clip, row, rows[1][clip]) for clip, row in rows[0].items() if clip in rows[1]]
    if len(found) < 2:
        raise InputError(f"{ours} and {theirs} share {len(found)} lines of {ave.ANNOTATIONS}; two or more are needed")
    return found


def compare_files(modality: str, ours: Path, theirs: Path, clips: list[tuple[Annotation, int, int]]) -> Certificate:
    with ave.opened(ours) as mine, ave.opened(theirs) as given:
        if mine.shape[1:] != given.shape[1:]:
            raise InputError(
                f"{ours} has clips of {list(mine.shape[1:])}, {theirs} of {list(given.shape[1:])}; extract with the "
                "encoder of the released features"
            )
        annotations, in_ours, in_theirs = zip(*clips, strict=True)
        for path, dataset, used in ((ours, mine, in_ours), (theirs, given, in_theirs)):
            if len(dataset) <= max(used):
                raise InputError(f"{path} has {len(dataset)} clips, fewer than {path.parent / ave.ANNOTATIONS}")
        own, other = [], []
        before = clip_features(given, in_theirs[-1], theirs)
        for row, released in zip(in_ours, in_theirs, strict=True):
            values, target = clip_features(mine, row, ours), clip_features(given, released, theirs)
            own.append(likeness(values, target))
            other.append(likeness(values, before))
            before = target
    return Certificate(modality, [clip.category for clip in annotations], np.array(own), np.array(other))


def clip_features(dataset: h5py.Dataset, row: int, path: Path) -> np.ndarray:
    """Features of a clip, `[T, n]`."""
    values = ave.read_rows(dataset, np.array([row]), path)
    check_finite(values, np.array([row]), lambda row: path)
    return values.reshape(dataset.shape[1], -1)


def likeness(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Cosine and rank correlation of two clips' features `[T, n]`, in the mean over segments."""
    ranks = (rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (first, second))
    return cosine(first.astype(np.float64), second.astype(np.float64)), cosine(*ranks)


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Of rows `[T, n]`, in the mean over them; of two rows of zeros 1, of one of zeros 0."""
    lengths = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
    product = (first * second).sum(1) / np.maximum(lengths[0] * lengths[1], np.finfo(float).tiny)
    return float(np.where((lengths[0] == 0) & (lengths[1] == 0), 1.0, product).mean())
