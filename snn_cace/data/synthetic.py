"""Random features of AVE's size with AVE's class and duration statistics, for benchmarks and tests of scale.

The features carry no signal: what a network reaches on them is the share of the commonest answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from snn_cace.data import ave
from snn_cace.data.labels import SEGMENTS, Annotation, labels_from_annotations, write_annotations

AVE_CLIPS = 4143
AVE_CLASS_CLIPS = {
    "Church bell": 188, "Male speech, man speaking": 176, "Bark": 171, "Fixed-wing aircraft, airplane": 184,
    "Race car, auto racing": 188, "Female speech, woman speaking": 175, "Helicopter": 178, "Violin, fiddle": 187,
    "Flute": 172, "Ukulele": 163, "Frying (food)": 182, "Truck": 138, "Shofar": 102, "Motorcycle": 99,
    "Acoustic guitar": 186, "Train horn": 176, "Clock": 160, "Banjo": 183, "Goat": 100, "Baby cry, infant cry": 83,
    "Bus": 69, "Chainsaw": 160, "Cat": 60, "Horse": 64, "Toilet flush": 180, "Rodents, rats, mice": 109,
    "Accordion": 154, "Mandolin": 156,
}  # fmt: skip
"""Clips per category of AVE, in the order of class indices."""
AVE_START_CLIPS = {0: 3250, 1: 124, 2: 110, 3: 128, 4: 117, 5: 122, 6: 114, 7: 102, 8: 76}
"""Clips of AVE by the event's first segment."""
AVE_FULL_SHARE = {0: 0.846, 1: 0.597, 2: 0.545, 3: 0.563, 4: 0.701, 5: 0.803, 6: 0.807, 7: 0.902, 8: 1.0}
"""By first segment, the share of events that last to the end of the clip; the others last two segments or more."""
HELD_CLIPS = 402
"""Clips of AVE to validate, and as many to test; the rest is trained on."""


def fitted_annotations(clips: int, rng: np.random.Generator) -> list[Annotation]:
    """Clips with AVE's class frequencies and its distribution of starts and ends."""
    names = list(AVE_CLASS_CLIPS)
    frequency = np.array(list(AVE_CLASS_CLIPS.values())) / AVE_CLIPS
    drawn = np.concatenate(
        [np.arange(min(clips, len(names))), rng.choice(len(names), max(0, clips - len(names)), p=frequency)]
    )
    starts = rng.choice(list(AVE_START_CLIPS), clips, p=np.array(list(AVE_START_CLIPS.values())) / AVE_CLIPS)
    annotations = []
    for row, (index, start) in enumerate(zip(drawn, starts, strict=True)):
        whole = start == 8 or rng.random() < AVE_FULL_SHARE[int(start)]
        end = SEGMENTS if whole else int(rng.integers(start + 2, SEGMENTS))
        annotations.append(Annotation(names[index], f"synthetic-{row:05d}", "good", int(start), end))
    return annotations


def write_synthetic(
    directory: str | Path,
    clips: int = AVE_CLIPS,
    visual_shape: tuple[int, int, int] = (7, 7, 512),
    audio_channels: int = 128,
    dtype: str = "float32",
    seed: int = 0,
) -> None:
    """Write an AVE directory of non-negative random features, in chunks, so that memory does not grow with `clips`.

    Features are independent, half of them zero. Class and duration statistics are fitted to AVE's.
    """
    directory = Path(directory)
    ave.refuse_existing(directory)
    rng = np.random.default_rng(seed)
    annotations = fitted_annotations(clips, rng)
    ave.write_array(directory / ave.FILES["labels"], labels_from_annotations(annotations))
    write_annotations(directory, annotations)
    for name, shape in (("visual", visual_shape), ("audio", (audio_channels,))):
        full = (clips, SEGMENTS, *shape)
        ave.write_dataset(directory / ave.FILES[name], full, random_chunks(full, dtype, rng), dtype)
    ave.write_orders(directory, split_orders(clips, rng))


def random_chunks(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Iterator[np.ndarray]:
    step = max(1, ave.CHUNK_BYTES // (4 * int(np.prod(shape[1:]))))
    for start in tqdm(range(0, shape[0], step), desc="writing", leave=False, disable=None):
        rows = min(step, shape[0] - start)
        yield np.maximum(rng.standard_normal((rows, *shape[1:]), np.float32), 0).astype(dtype)


def split_orders(clips: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of each split, in AVE's shares."""
    rows = rng.permutation(clips)
    held = max(1, round(clips * HELD_CLIPS / AVE_CLIPS))
    return {"train": rows[2 * held :], "val": rows[:held], "test": rows[held : 2 * held]}
