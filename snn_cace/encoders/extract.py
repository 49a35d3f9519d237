"""Videos, in a folder or an archive, and their annotations to an AVE directory of features.

Decoding runs ahead in processes of its own; each clip is encoded alone, so that its features depend on no other clip.
They are kept in flat files until all clips are there, with a byte for each that says so: what is killed goes on where
it was, and gives the same bytes, if all that decides them is as it was; else it is refused. A file from which no clip
can be made stays out of every split, and is listed; a run that goes on looks at it again.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from snn_cace.data import ave
from snn_cace.data.labels import (
    Annotation,
    labels_from_annotations,
    numbered_annotations,
    read_annotations,
    write_annotations,
)
from snn_cace.encoders.archives import SPLITS, archives_in, unpacked
from snn_cace.encoders.audio import AudioEncoder
from snn_cace.encoders.media import Media, content_digests, decoded_ahead, file_identity, first_difference, video_files
from snn_cace.encoders.video import Clip, Plan, UnusableVideoError, read_clip
from snn_cace.encoders.visual import VisualEncoder
from snn_cace.errors import InputError
from snn_cace.files import read_json, write_json

UNFINISHED, SETTINGS = ".extract", "settings.json"
WAITING, DONE, UNUSABLE = 0, 1, 2
SPLIT_FILES = dict(zip(("train", "val", "test"), SPLITS, strict=True))
HELD_SHARE = 0.1
"""Of each class's clips: what validation and test get each, where no split files say otherwise."""
REASONS = 3
"""How many clips left out an error names with the reason."""


@dataclass
class Settings(Media):
    """What decides the features, beside what the files hold that it names."""

    frames: int
    dtype: str
    audio_pca: str | None = None


@dataclass
class Summary:
    """clips: in the splits. left_out: by video, why. notes: by video, what was amiss with one that is in."""

    clips: int
    splits: dict[str, int]
    left_out: dict[str, str]
    notes: dict[str, list[str]]


class VideoClips(Dataset):
    """The clips at `rows`, decoded; what cannot be is the reason why, as a string."""

    def __init__(self, files: list[Path | None], rows: list[int], plan: Plan) -> None:
        self.files, self.rows, self.plan = files, rows, plan

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[int, Clip | str]:
        row = self.rows[place]
        file = self.files[row]
        if file is None:
            return row, "no such file"
        try:
            return row, read_clip(file, self.plan)
        except UnusableVideoError as error:
            return row, f"{file.name}: {error}"


class Progress:
    """Features and what is known of each clip, on disk while an extraction runs, in `DIR/.extract`.

    of_features and of_splits: all that decides these, by what an error calls it. Videos are compared with those of the
    clips that are done, and the splits' against those before while clips are waiting: an extraction that came to its
    end without a clip for a split goes on with other splits.

    Raises:
        InputError: what was broken off there had another of these.
    """

    def __init__(
        self,
        directory: Path,
        of_features: dict[str, Any],
        of_splits: dict[str, Any],
        videos: list[list[str | int] | None],
        shapes: dict[str, tuple[int, ...]],
        dtype: str,
    ) -> None:
        self.directory = directory / UNFINISHED
        self.directory.mkdir(parents=True, exist_ok=True)
        written = self.directory / SETTINGS
        before = read_json(written) if written.is_file() else None
        if before is not None:
            self.refuse(first_difference(before.get("features", {}), of_features))
        self.features = {name: self.mapped(f"{name}.raw", shape, dtype) for name, shape in shapes.items()}
        self.state = self.mapped("state.raw", (len(videos),), "uint8")
        self.remarks = self.directory / "remarks.jsonl"
        self.remarks.touch()
        if before is not None:
            other = (row for row in np.flatnonzero(self.state == DONE) if before["videos"][row] != videos[row])
            self.refuse(next((f"file {(before['videos'][row] or ['of a clip'])[0]}" for row in other), None))
            if (self.state == WAITING).any():
                self.refuse(first_difference(before["splits"], of_splits))
        write_json(written, {"features": of_features, "splits": of_splits, "videos": videos})

    def refuse(self, changed: str | None) -> None:
        """Raise InputError if anything changed."""
        if changed is not None:
            raise InputError(
                f"{self.directory.parent} holds a broken-off extraction with another {changed}; go on with that as it "
                "was, or choose an empty directory"
            )

    def mapped(self, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """What a file holds, which is made, or filled up with zeros, where it is missing or was cut off."""
        path = self.directory / name
        path.touch()
        return np.memmap(path, dtype, "r+", shape=shape)

    def remark(self, row: int, lines: list[str]) -> None:
        with self.remarks.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"row": row, "lines": lines}) + "\n")

    def remarks_by_row(self) -> dict[int, list[str]]:
        """The last of each clip: one that was broken off in between, or looked at again, is said again."""
        found = {}
        for line in self.remarks.read_text(encoding="utf-8").splitlines():
            with suppress(json.JSONDecodeError):  # cut off when the process was killed
                said = json.loads(line)
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
    source, named, space = Path(settings.videos), Path(settings.annotations), output / UNFINISHED / "videos"
    fresh = not (output / UNFINISHED / SETTINGS).is_file()
    if fresh:
        shutil.rmtree(space, ignore_errors=True)  # killed while it unpacked
    try:
        folder = unpacked(source, space)
    except InputError:
        if fresh:
            shutil.rmtree(output / UNFINISHED, ignore_errors=True)
        raise
    named = folder / named.name if named.parent == source else named
    annotations = read_annotations(named)
    listed = listed_rows(annotations, named.parent)
    files = video_files(folder, annotations)
    plan = Plan(settings.frames, *visual.size, audio.sample_rate)
    clips = len(annotations)
    shapes = {
        "visual": (clips, plan.segments, visual.grid, visual.grid, visual.channels),
        "audio": (clips, plan.segments, audio.channels),
    }
    progress = Progress(
        output,
        asdict(settings)
        | content_digests(annotations, visual.network, audio.network)
        | {f"file {archive}": file_identity(archive) for archive in archives_in(source)},
        {"content of the split files": listed, "seed": seed},
        [file_identity(file) for file in files],
        shapes,
        settings.dtype,
    )
    waiting = np.flatnonzero(progress.state != DONE).tolist()
    loader = decoded_ahead(VideoClips(files, waiting, plan), workers, batch_size=None)
    for row, clip in tqdm(loader, total=len(waiting), unit="clip", desc="extracting", disable=quiet or None):
        if isinstance(clip, str):
            progress.remark(row, [clip])
            progress.state[row] = UNUSABLE
            continue
        progress.remark(row, clip.notes)
        progress.features["visual"][row] = visual.of_segments(torch.from_numpy(clip.pictures)).float().cpu().numpy()
        progress.features["audio"][row] = audio(torch.from_numpy(clip.sound)).cpu().numpy()
        progress.state[row] = DONE
    return finish(progress, annotations, listed, settings, output, seed, macs_per_clip(plan, visual, audio))


def macs_per_clip(plan: Plan, visual: VisualEncoder, audio: AudioEncoder) -> dict[str, float]:
    """What the encoders of pictures and sound multiply for a clip, by PyTorch's own counter; what is no product of
    matrices (FFT of sound, logarithms of an event camera) is left out.
    """
    with FlopCounterMode(display=False) as of_segment:
        visual.of_segments(torch.zeros(1, plan.frames, *visual.size, 3, dtype=torch.uint8))
    with FlopCounterMode(display=False) as of_sound:
        audio(torch.zeros(plan.segments, plan.sample_rate))
    of_pictures = plan.segments * of_segment.get_total_flops() / 2
    return {"visual": of_pictures, "audio": of_sound.get_total_flops() / 2}


def finish(
    progress: Progress,
    annotations: list[Annotation],
    listed: dict[str, list[int]] | None,
    settings: Settings,
    output: Path,
    seed: int,
    macs: dict[str, float],
) -> Summary:
    """The AVE directory from what was kept, and the summary; then what was kept goes. macs: of the encoders."""
    remarks = {annotations[row].video: lines for row, lines in sorted(progress.remarks_by_row().items()) if lines}
    unusable = {annotations[row].video for row in np.flatnonzero(progress.state == UNUSABLE)}
    left_out = {video: lines[0] for video, lines in remarks.items() if video in unusable}
    usable = progress.state == DONE
    try:
        orders = splits(annotations, usable, listed, seed)
    except InputError as error:
        reasons = [f"{video}: {reason}" for video, reason in left_out.items()]
        more = [f"and {len(reasons) - REASONS} more"] if len(reasons) > REASONS else []
        raise InputError("; ".join([f"{error}", *reasons[:REASONS], *more])) from None
    ave.write_array(output / ave.FILES["labels"], labels_from_annotations(annotations))
    for name, values in progress.features.items():
        ave.write_array(output / ave.FILES[name], values)
    write_annotations(output, annotations)
    ave.write_orders(output, orders)
    notes = {video: lines for video, lines in remarks.items() if video not in unusable}
    counts = {split: len(order) for split, order in orders.items()}
    summary = Summary(int(usable.sum()), counts, left_out, notes)
    report = {"settings": asdict(settings), **asdict(summary), "encoder_macs_per_clip": macs}
    write_json(output / ave.EXTRACTION, report)
    shutil.rmtree(progress.directory)
    return summary


def listed_rows(annotations: list[Annotation], directory: Path) -> dict[str, list[int]] | None:
    """The rows that trainSet.txt, valSet.txt and testSet.txt name, line by line; None where they are not all there.

    A line names the row whose line it is, since a video may be annotated more than once; one that is no row's names the
    only row of its video.

    Raises:
        InputError: a line that names no row, more than one, or one that is named already.
    """
    files = {split: directory / file for split, file in SPLIT_FILES.items()}
    if not all(file.is_file() for file in files.values()):
        return None
    rows: dict[Annotation | str, list[int]] = {}
    for row, annotation in enumerate(annotations):
        rows.setdefault(annotation, []).append(row)
        rows.setdefault(annotation.video, []).append(row)
    named: dict[int, Path] = {}
    for file in files.values():
        for number, annotation in numbered_annotations(file).items():
            alike = rows.get(annotation, [])
            found = alike or rows.get(annotation.video, [])
            where = f"{file}, line {number}: {annotation.category}&{annotation.video}"
            if not found or (not alike and len(found) > 1):
                count = len(found) or "no"
                raise InputError(
                    f"{where}: {count} annotations have this video, none this line; write it as it is there"
                )
            free = next((row for row in found if row not in named), None)
            if free is None:
                raise InputError(f"{where} is in {named[found[0]].name} already; leave it in one place")
            named[free] = file
    return {split: [row for row, where in named.items() if where == file] for split, file in files.items()}


def drawn_rows(annotations: list[Annotation], usable: np.ndarray, seed: int) -> dict[str, list[int]]:
    """Usable rows of each split, a tenth of each class to validate and to test; all of a video's go where its first
    does.
    """
    chosen: dict[str, list[int]] = {split: [] for split in SPLIT_FILES}
    rng = np.random.default_rng(seed)
    of_video: dict[str, list[int]] = {}
    for row in np.flatnonzero(usable).tolist():
        of_video.setdefault(annotations[row].video, []).append(row)
    of_category: dict[str, list[list[int]]] = {}
    for rows in of_video.values():
        of_category.setdefault(annotations[rows[0]].category, []).append(rows)
    for videos in of_category.values():
        mixed = [videos[place] for place in rng.permutation(len(videos))]
        held = max(1, round(HELD_SHARE * len(mixed))) if len(mixed) > 2 else 0
        parts = {"val": mixed[:held], "test": mixed[held : 2 * held], "train": mixed[2 * held :]}
        for split, part in parts.items():
            chosen[split] += [row for rows in part for row in rows]
    return chosen


def splits(
    annotations: list[Annotation], usable: np.ndarray, listed: dict[str, list[int]] | None, seed: int
) -> dict[str, np.ndarray]:
    """Usable rows of each split: those of `listed_rows`, or drawn class by class.

    Raises:
        InputError: a split without any usable clip.
    """
    chosen = drawn_rows(annotations, usable, seed) if listed is None else listed
    orders = {split: np.array(sorted(r for r in rows if usable[r]), dtype=np.int64) for split, rows in chosen.items()}
    empty = next((split for split, order in orders.items() if not order.size), None)
    if empty is not None:
        raise InputError(
            f"no usable clip is left for the {empty} split ({usable.sum()} of {len(usable)} are usable): add clips, "
            f"three of a class at least, or list some in {empty}Set.txt beside the annotations"
        )
    return orders
