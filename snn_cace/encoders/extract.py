"""A folder of videos and its annotations to an AVE directory of features.

Decoding runs ahead in processes of its own; each clip is encoded alone, so that its features depend on no other clip.
They are kept in flat files until all clips are there, with a byte for each that says so: what is killed goes on where
it was, and gives the same bytes. A file from which no clip can be made stays out of every split, and is listed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from snn_cace.data import ave
from snn_cace.data.labels import Annotation, labels_from_annotations, read_annotations
from snn_cace.encoders.audio import AudioEncoder
from snn_cace.encoders.media import Media, first_difference, video_files
from snn_cace.encoders.video import Clip, Plan, UnusableVideoError, read_clip
from snn_cace.encoders.visual import VisualEncoder
from snn_cace.errors import InputError
from snn_cace.files import write_json, write_text

UNFINISHED = ".extract"
WAITING, DONE, UNUSABLE = 0, 1, 2
SPLIT_FILES = {"train": "trainSet.txt", "val": "valSet.txt", "test": "testSet.txt"}
HELD_SHARE = 0.1
"""Of each class's clips: what validation and test get each, where no split files say otherwise."""
READ_AHEAD = 2


@dataclass
class Settings(Media):
    """All that decides the features, for whoever goes on with a broken-off extraction."""

    frames: int
    dtype: str
    audio_pca: str | None = None


@dataclass
class Summary:
    """clips: in the splits. left_out: by video, why. notes: by video, what was amiss with one that is in."""

    clips: int
    splits: dict[str, int]
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)


class VideoClips(Dataset):
    """The clips at `rows`, decoded; what cannot be is the reason why, as a string."""

    def __init__(self, files: list[Path | None], rows: list[int], plan: Plan) -> None:
        self.files, self.rows, self.plan = files, rows, plan

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[int, Clip | str]:
        row = self.rows[place]
        file = self.files[row]
        try:
            return row, "no such file" if file is None else read_clip(file, self.plan)
        except UnusableVideoError as error:
            return row, str(error)


class Progress:
    """Features and what is known of each clip, on disk while an extraction runs, in `DIR/.extract`."""

    def __init__(self, directory: Path, settings: Settings, shapes: dict[str, tuple[int, ...]]) -> None:
        self.directory = directory / UNFINISHED
        self.directory.mkdir(parents=True, exist_ok=True)
        plan = self.directory / "settings.json"
        if plan.is_file():
            changed = first_difference(plan, settings)
            if changed:
                raise InputError(
                    f"{directory} holds a broken-off extraction with another {changed}; go on with that, or choose an "
                    "empty directory"
                )
        else:
            write_json(plan, asdict(settings))
        self.features = {
            name: self.mapped(f"{name}.raw", shape, np.dtype(settings.dtype)) for name, shape in shapes.items()
        }
        self.state = self.mapped("state.raw", (shapes["visual"][0],), np.dtype(np.uint8))
        self.remarks = self.directory / "remarks.jsonl"

    def mapped(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        path = self.directory / name
        size = int(np.prod(shape)) * dtype.itemsize
        if not path.is_file() or path.stat().st_size != size:
            with path.open("wb") as file:
                file.truncate(size)
        return np.memmap(path, dtype, "r+", shape=shape)

    def remark(self, row: int, lines: list[str]) -> None:
        with self.remarks.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"row": row, "lines": lines}) + "\n")

    def remarks_by_row(self) -> dict[int, list[str]]:
        """The last of each clip: one that was broken off in between is said again."""
        if not self.remarks.is_file():
            return {}
        found = {}
        for line in self.remarks.read_text(encoding="utf-8").splitlines():
            try:
                said = json.loads(line)
            except json.JSONDecodeError:  # cut off when the process was killed
                continue
            found[said["row"]] = said["lines"]
        return found


def extract(
    settings: Settings, output: Path, visual: VisualEncoder, audio: AudioEncoder, workers: int, seed: int, quiet: bool
) -> Summary:
    """Write an AVE directory into `output`; see above.

    Raises:
        InputError: no videos or annotations, features there already, another extraction broken off there, or fewer
            usable clips than a split each needs.
    """
    if not (output / UNFINISHED).is_dir():  # else it may have been killed while it wrote the files
        ave.refuse_existing(output)
    annotations = read_annotations(settings.annotations)
    files = video_files(Path(settings.videos), annotations)
    plan = Plan(settings.frames, *visual.size, audio.sample_rate)
    clips = len(annotations)
    shapes = {
        "visual": (clips, plan.segments, visual.grid, visual.grid, visual.channels),
        "audio": (clips, plan.segments, audio.channels),
    }
    progress = Progress(output, settings, shapes)
    waiting = np.flatnonzero(progress.state == WAITING).tolist()
    loader = DataLoader(
        VideoClips(files, waiting, plan),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=READ_AHEAD if workers else None,
    )
    for row, clip in tqdm(loader, total=len(waiting), unit="clip", desc="extracting", disable=quiet or None):
        if isinstance(clip, str):
            progress.remark(row, [clip])
            progress.state[row] = UNUSABLE
            continue
        if clip.notes:
            progress.remark(row, clip.notes)
        progress.features["visual"][row] = encoded_pictures(clip, visual)
        progress.features["audio"][row] = audio(torch.from_numpy(clip.sound)).cpu().numpy()
        progress.state[row] = DONE
    return finish(progress, annotations, settings, output, seed)


def encoded_pictures(clip: Clip, visual: VisualEncoder) -> np.ndarray:
    """The mean over each segment's pictures: `[T, grid, grid, C]`."""
    segments, frames = clip.pictures.shape[:2]
    features = visual(torch.from_numpy(clip.pictures.reshape(-1, *clip.pictures.shape[2:])))
    return features.unflatten(0, (segments, frames)).mean(1).float().cpu().numpy()


def finish(progress: Progress, annotations: list[Annotation], settings: Settings, output: Path, seed: int) -> Summary:
    """The AVE directory from what was kept, and the summary; then what was kept goes."""
    usable = progress.state == DONE
    orders = splits(annotations, usable, Path(settings.annotations).parent, seed)
    remarks = {annotations[row].video: lines for row, lines in sorted(progress.remarks_by_row().items())}
    unusable = {annotations[row].video for row in np.flatnonzero(progress.state == UNUSABLE)}
    labels = labels_from_annotations(annotations)
    ave.write_dataset(output / ave.FILES["labels"], labels.shape, iter([labels]), "float32", ave.DATASET_NAMES[0])
    for name, values in progress.features.items():
        ave.write_dataset(
            output / ave.FILES[name], values.shape, in_pieces(values), settings.dtype, ave.DATASET_NAMES[0]
        )
    write_text(output / ave.ANNOTATIONS, "".join("&".join(map(str, a)) + "\n" for a in annotations))
    ave.write_orders(output, orders)
    summary = Summary(
        clips=int(usable.sum()),
        splits={split: len(order) for split, order in orders.items()},
        left_out={video: lines[0] for video, lines in remarks.items() if video in unusable},
        notes={video: lines for video, lines in remarks.items() if video not in unusable},
    )
    write_json(output / "extraction.json", {"settings": asdict(settings), **asdict(summary)})
    shutil.rmtree(progress.directory)
    return summary


def in_pieces(values: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, ave.CHUNK_BYTES // max(1, values[0].nbytes))
    for start in range(0, len(values), step):
        yield np.asarray(values[start : start + step])


def splits(annotations: list[Annotation], usable: np.ndarray, directory: Path, seed: int) -> dict[str, np.ndarray]:
    """Usable rows of each split: by AVE's trainSet.txt, valSet.txt and testSet.txt beside the annotations, else drawn
    class by class, a tenth each to validate and test.

    Raises:
        InputError: a split without any usable clip.
    """
    listed = {split: directory / file for split, file in SPLIT_FILES.items()}
    if all(file.is_file() for file in listed.values()):
        names = {split: {a.video for a in read_annotations(file)} for split, file in listed.items()}
        chosen = {
            split: [row for row, a in enumerate(annotations) if usable[row] and a.video in videos]
            for split, videos in names.items()
        }
    else:
        chosen = {split: [] for split in SPLIT_FILES}
        rng = np.random.default_rng(seed)
        rows: dict[str, list[int]] = {}
        for row, annotation in enumerate(annotations):
            if usable[row]:
                rows.setdefault(annotation.category, []).append(row)
        for members in rows.values():
            mixed = rng.permutation(members).tolist()
            held = max(1, round(HELD_SHARE * len(mixed))) if len(mixed) > 2 else 0
            chosen["val"] += mixed[:held]
            chosen["test"] += mixed[held : 2 * held]
            chosen["train"] += mixed[2 * held :]
    empty = next((split for split, order in chosen.items() if not order), None)
    if empty is not None:
        raise InputError(f"no usable clip is left for the {empty} split ({usable.sum()} of all clips are usable)")
    return {split: np.array(sorted(order), dtype=np.int64) for split, order in chosen.items()}
