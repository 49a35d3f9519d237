"""AV-Digits: a small audio-visual event data set of real recordings, embedded in this package.

Sound: 640 utterances of nine speakers (UCI "Japanese Vowels": M. Kudo, J. Toyama, M. Shimbo; CC BY 4.0), each described
by statistics of its LPC cepstra. Picture: the 1797 handwritten digits that ship with scikit-learn. Speaker k belongs
with digit k (1..9); digit 0 only ever distracts.

A clip has ten segments and one event class k: a segment is an event exactly when digit k is visible and speaker k is
heard. Digit and speaker of the class each last over one contiguous interval, and the event is where the two overlap: at
each end, one of them usually goes on alone. That is most of the background, and neither modality can tell it from the
event. Where digit k is absent, a distractor may be seen; beside digit k a second digit often is, so that only the sound
says which one counts; where speaker k is silent, there is silence or another speaker, never one whose digit is visible.

Train clips use the official training utterances and the first 60 % of each digit's images. Validation and test have
halves of the official test utterances and 20 % of the images each. Background clips, which training alone may have, are
made as the others are, but for the event, in which digit or speaker is missing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snn_cace.config import AVDigitsConfig
from snn_cace.data import ave
from snn_cace.data.labels import SEGMENTS, Annotation, write_annotations
from snn_cace.files import cache_directory, replacing

CLASSES = 9
CANVAS = 28
PATCH = 4
GRID = CANVAS // PATCH
IMAGE_SHARES = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
BACKGROUND = "background"
"""Clips without an event, made from training's recordings."""

EVENT_SEGMENTS = (3, 7)
"""Shortest and longest event, in segments, both included: half of all segments on average."""
WHOLE_SHARE = 0.4
"""One modality goes on alone before the event begins, and one after it ends, where the clip has room: with this chance
up to the clip's edge, else for any shorter while."""
DIGIT_COUNT_SHARES = (0.3, 0.4, 0.3)
"""Chances that a segment shows no digit (one, where digit k is visible), one, or two."""
OTHER_SPEAKER_SHARE = 0.5
"""Chance that a clip has another speaker, heard wherever speaker k is silent."""
DIGIT_SIZES = (8, 12)
DIGIT_CONTRAST = (0.8, 1.0)
CLUTTER_PIECES = 2
CLUTTER_CONTRAST = (0.2, 0.4)
PIXEL_NOISE = 0.05
PIXEL_UNIT = 0.1
"""Pixels are handed over as multiples of this, which gives patches about the variance of sound features."""
SOUND_NOISE = 0.4
"""Standard deviations of the noise; sound features have unit variance over the training utterances."""
RECORDING_STRIDE = 1000
"""Recordings of a speaker or digit are numbered from so many times its own number."""


class Clips(NamedTuple):
    """visual `[N, 10, 7, 7, 16]` and audio `[N, 10, 48]` float32, labels `[N, 10, 10]` one-hot, background last; places
    `[N, 10, 7, 7]`: the patches that the class's digit covers, where it is visible. utterance and
    image, `[N, 10]`: which recordings a segment plays and shows (of two digits the first), -1 for none.
    """

    visual: np.ndarray
    audio: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    utterance: np.ndarray
    image: np.ndarray


class Timeline(NamedTuple):
    """Per segment of one clip: is the class's digit visible, is its speaker heard."""

    visible: np.ndarray
    heard: np.ndarray


def write_avdigits(directory: str | Path, config: AVDigitsConfig) -> None:
    """Write all three splits in AVE's layout, annotations included; rows are train, val, test in turn.

    Raises:
        InputError: the directory holds such files already.
    """
    directory = Path(directory)
    ave.refuse_existing(directory)
    if config.background_clips:
        without = make_clips(config, BACKGROUND)
        for name, file in ave.BACKGROUND_FILES.items():
            ave.write_array(directory / file, getattr(without, name))
    splits = [make_clips(config, split) for split in ave.SPLITS]
    clips = Clips(*map(np.concatenate, zip(*splits, strict=True)))
    for name, file in ave.FILES.items():
        ave.write_array(directory / file, getattr(clips, name))
    write_annotations(directory, [annotation(row, labels) for row, labels in enumerate(clips.labels)])
    with replacing(directory / ave.RECORDINGS) as temporary:
        np.savez_compressed(temporary, utterance=clips.utterance, image=clips.image)
    ends = np.cumsum([len(part.labels) for part in splits])
    orders = np.split(np.arange(ends[-1]), ends[:-1])
    ave.write_orders(directory, dict(zip(ave.SPLITS, orders, strict=True)))


def annotation(row: int, labels: np.ndarray) -> Annotation:
    """Of a clip with labels `[10, 10]`."""
    event = np.flatnonzero(labels[:, -1] == 0)
    index = labels[event[0]].argmax()
    return Annotation(f"digit {index + 1}", f"av-digits-{row:05d}", "good", event[0], event[-1] + 1)


def cached_avdigits(config: AVDigitsConfig) -> Path:
    """A directory with AV-Digits in AVE's layout, made on first use (seconds) and kept in the user's cache.

    It lies in `snn_cace.files.cache_directory` under a name made from the config and the recipe's own source, so that a
    changed recipe is never served from an old cache.
    """
    recipe = Path(__file__).read_bytes() + repr(config).encode()
    directory = cache_directory() / f"avdigits-{hashlib.sha256(recipe).hexdigest()[:16]}"
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
    try:
        write_avdigits(temporary, config)
        temporary.rename(directory)
    except OSError:
        if not directory.is_dir():  # another process may have made it meanwhile
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def make_clips(config: AVDigitsConfig, split: str) -> Clips:
    """The clips of `train`, `val` or `test`, or `background`, those to train on without an event; the same for the same
    config on every machine.
    """
    count: int = getattr(config, f"{split}_clips")
    rng = np.random.default_rng([config.seed, [*IMAGE_SHARES, BACKGROUND].index(split)])
    recorded = "train" if split == BACKGROUND else split
    digits, speakers = digit_images(recorded), speaker_features(recorded)
    visual = np.zeros((count, SEGMENTS, CANVAS, CANVAS), np.float32)
    audio = np.zeros((count, SEGMENTS, speakers[1].shape[1]), np.float32)
    classes = np.full((count, SEGMENTS), CLASSES)
    places = np.zeros((count, SEGMENTS, GRID, GRID), bool)
    utterance, image = np.full((count, SEGMENTS), -1), np.full((count, SEGMENTS), -1)
    event_class = np.arange(count) % CLASSES
    rng.shuffle(event_class[CLASSES:])
    for clip, own in enumerate(event_class.tolist()):
        timeline = draw_timeline(rng)
        if split == BACKGROUND:
            timeline = without_event(rng, timeline)
        shown = draw_digits(rng, own + 1, timeline)
        spoken = draw_speakers(rng, own + 1, timeline, shown)
        classes[clip, timeline.visible & timeline.heard] = own
        for segment in range(SEGMENTS):
            drawn = draw_frame(rng, visual[clip, segment], shown[segment], digits)
            if drawn:
                covered, image[clip, segment] = drawn[0]
                places[clip, segment][covered] = timeline.visible[segment]
            if speaker := spoken[segment]:
                chosen = rng.choice(len(speakers[speaker]))
                audio[clip, segment] = speakers[speaker][chosen]
                utterance[clip, segment] = RECORDING_STRIDE * speaker + chosen
    visual += rng.normal(0, PIXEL_NOISE, visual.shape).astype(np.float32)
    audio += rng.normal(0, SOUND_NOISE, audio.shape).astype(np.float32)
    labels = np.eye(CLASSES + 1, dtype=np.float32)[classes]
    return Clips(to_patches(visual / np.float32(PIXEL_UNIT)), audio, labels, places, utterance, image)


def draw_timeline(rng: np.random.Generator) -> Timeline:
    """An event, and at each end of it one modality that may go on alone."""
    length = int(rng.integers(EVENT_SEGMENTS[0], EVENT_SEGMENTS[1] + 1))
    start = int(rng.integers(0, SEGMENTS - length + 1))
    stop = start + length
    begin = {"visible": start, "heard": start}
    end = {"visible": stop, "heard": stop}
    begin[rng.choice(list(begin))] -= lone_segments(rng, start)
    end[rng.choice(list(end))] += lone_segments(rng, SEGMENTS - stop)
    segment = np.arange(SEGMENTS)
    return Timeline(*((begin[m] <= segment) & (segment < end[m]) for m in ("visible", "heard")))


def without_event(rng: np.random.Generator, timeline: Timeline) -> Timeline:
    """The same with one modality missing while both were there: digit or speaker of the class, never both at once."""
    both = timeline.visible & timeline.heard
    if rng.random() < 0.5:
        return Timeline(timeline.visible & ~both, timeline.heard)
    return Timeline(timeline.visible, timeline.heard & ~both)


def lone_segments(rng: np.random.Generator, room: int) -> int:
    if room == 0:
        return 0
    return room if rng.random() < WHOLE_SHARE else int(rng.integers(1, room + 1))


def draw_digits(rng: np.random.Generator, own: int, timeline: Timeline) -> list[list[int]]:
    """The digits visible in each segment: none, one or two. How many says little of whether `own` is among them."""
    others = rng.permutation([digit for digit in range(10) if digit != own])[:2].tolist()
    shown = []
    for visible in timeline.visible:
        digits = [own, *others] if visible else others
        fewest = 1 if visible else 0
        shown.append(digits[: rng.choice([fewest, 1, 2], p=DIGIT_COUNT_SHARES)])
    return shown


def draw_speakers(rng: np.random.Generator, own: int, timeline: Timeline, shown: list[list[int]]) -> list[int]:
    """The speaker heard in each segment, 0 for silence."""
    seen = {digit for digits in shown for digit in digits} | {own}
    other = rng.choice([speaker for speaker in range(1, CLASSES + 1) if speaker not in seen])
    elsewhere = int(other) if rng.random() < OTHER_SPEAKER_SHARE else 0
    return [own if heard else elsewhere for heard in timeline.heard]


def draw_frame(
    rng: np.random.Generator, canvas: np.ndarray, shown: list[int], digits: dict[int, dict[int, np.ndarray]]
) -> list[tuple[tuple[slice, slice], int]]:
    """Clutter, then the digits shown, side by side at random places, sizes and contrasts; the patches and the recording
    of each.
    """
    fragments = digits[0][8]
    for _ in range(CLUTTER_PIECES):
        fragment = fragments[rng.integers(len(fragments))]
        top, left = rng.integers(0, 8 - PATCH + 1, 2)
        piece = fragment[top : top + PATCH, left : left + PATCH]
        paste(canvas, piece, rng.integers(0, CANVAS - PATCH + 1, 2), rng.uniform(*CLUTTER_CONTRAST))
    halves = rng.permutation([(0, 3), (3, 7)])
    drawn = []
    for digit, (left, right) in zip(shown, halves, strict=False):
        size = int(rng.choice(DIGIT_SIZES))
        image = digits[digit][size]
        cells = size // PATCH
        place = PATCH * np.array([rng.integers(0, GRID - cells + 1), rng.integers(left, right - cells + 1)])
        chosen = int(rng.integers(len(image)))
        paste(canvas, image[chosen], place, rng.uniform(*DIGIT_CONTRAST))
        top, first = place // PATCH
        covered = (slice(top, top + cells), slice(first, first + cells))
        drawn.append((covered, RECORDING_STRIDE * digit + chosen))
    return drawn


def paste(canvas: np.ndarray, image: np.ndarray, place: np.ndarray, contrast: float) -> None:
    area = canvas[place[0] : place[0] + image.shape[0], place[1] : place[1] + image.shape[1]]
    np.maximum(area, contrast * image, out=area)


def to_patches(frames: np.ndarray) -> np.ndarray:
    """`[N, T, 28, 28]` to `[N, T, 7, 7, 16]`."""
    cut = frames.reshape(*frames.shape[:2], GRID, PATCH, GRID, PATCH)
    return cut.swapaxes(3, 4).reshape(*frames.shape[:2], GRID, GRID, PATCH * PATCH)


def to_pictures(visual: np.ndarray) -> np.ndarray:
    """Patches `[N, T, 7, 7, 16]` as pictures in [0, 1], `[N, T, 28, 28]`."""
    cut = visual.reshape(*visual.shape[:2], GRID, GRID, PATCH, PATCH)
    return (PIXEL_UNIT * cut.swapaxes(3, 4).reshape(*visual.shape[:2], CANVAS, CANVAS)).clip(0, 1)


@cache
def digit_images(split: str) -> dict[int, dict[int, np.ndarray]]:
    """Images of a split by digit and size: `[n, size, size]` in [0, 1]."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    bundle = load_digits()
    low, high = IMAGE_SHARES[split]
    images: dict[int, dict[int, np.ndarray]] = {}
    for digit in range(10):
        own = bundle.images[bundle.target == digit] / 16
        own = own[round(low * len(own)) : round(high * len(own))]
        images[digit] = {
            size: zoom(own, (1, size / 8, size / 8), order=1).clip(0, 1).astype(np.float32) for size in DIGIT_SIZES
        }
    return images


@cache
def speaker_features(split: str) -> dict[int, np.ndarray]:
    """By speaker, features of the split's utterances, `[n, 48]`, scaled by mean and deviation of the training ones."""
    asset = resources.files("snn_cace.data") / "assets" / "japanese_vowels.npz"
    with asset.open("rb") as file:
        stored = dict(np.load(file))
    utterances = np.split(stored["frames"], np.cumsum(stored["lengths"])[:-1])
    features = np.stack([cepstral_statistics(utterance) for utterance in utterances])
    training = ~stored["is_test"]
    features = (features - features[training].mean(0)) / features[training].std(0)
    speakers = {}
    for speaker in range(1, CLASSES + 1):
        own = features[(training == (split == "train")) & (stored["speaker"] == speaker)]
        if split != "train":
            own = own[("val", "test").index(split) :: 2]
        speakers[speaker] = own.astype(np.float32)
    return speakers


def cepstral_statistics(frames: np.ndarray) -> np.ndarray:
    """Of an utterance `[frames, 12]`: the means of its three thirds and its standard deviation, `[48]`."""
    thirds = [third.mean(0) for third in np.array_split(frames, 3)]
    return np.concatenate([*thirds, frames.std(0)])
