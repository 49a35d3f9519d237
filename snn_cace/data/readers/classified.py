"""What the readers of clip classification share: clips of one segment, a picture and a sound file each, one class.

Pictures are patches of pixels, as in AV-Digits, and sound is a log-mel spectrogram, so no encoder is needed:
`visual` `[1, 7, 7, 768]`, `audio` `[1, 512]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from scipy.io import wavfile
from scipy.signal import resample_poly

from snn_cace.config import DataConfig
from snn_cace.data.labels import BACKGROUND
from snn_cace.data.readers.base import SPLITS, Layout, Reader
from snn_cace.encoders.audio import BANDS, RATE, log_mel
from snn_cace.errors import InputError, one_line

SIDE, PATCH = 112, 16
"""Pixels of a picture and of a patch, across and down."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in [0, 1], red, green, blue: pictures are shifted and scaled by them."""
TIMES = 8
"""Equal parts of the sound, over each of which the spectrogram is averaged."""
HELD_SHARE = 0.1
"""Of each class's training clips, so many are held out to validate."""


class ClassifiedClips(Reader):
    """Clips `files`, a picture and a sound each, of `classes`, that `testing` splits as published; the validation split
    is drawn from training clips by `data.split_seed`.

    units: what of one clip is not independent of other clips, by kind, one number a clip. held_by: the kind that goes
    to the validation split as a whole.
    """

    names: ClassVar[tuple[str, ...]]
    seconds: ClassVar[int]
    held_by: ClassVar[str | None] = None

    def lay_out(
        self,
        config: DataConfig,
        files: Sequence[tuple[Path, Path]],
        classes: np.ndarray,
        testing: np.ndarray,
        units: dict[str, np.ndarray],
    ) -> None:
        self.files, self.classes, self.units = files, classes, units
        held_units = units[self.held_by] if self.held_by else np.arange(len(files))
        held = held_out(classes, held_units, ~testing, config.split_seed)
        parts = (~testing & ~held, held, testing)
        orders = {split: np.flatnonzero(part) for split, part in zip(SPLITS, parts, strict=True)}
        empty = next((split for split, order in orders.items() if not order.size), None)
        if empty is not None:
            raise InputError(f"{self.directory} has no clip left for the {empty} split, of {len(files)} clips")
        grid = SIDE // PATCH
        self.layout = Layout(len(files), 1, grid, grid, 3 * PATCH * PATCH, TIMES * BANDS, len(self.names), orders)

    def read_row(self, name: str, row: int) -> np.ndarray:
        if "labels" in name:  # of the one segment, or of the clip: the same row
            return np.arange(len(self.names) + 1) == self.classes[row]
        path = self.source(name, row)
        return picture(path) if name == "visual" else sound(path, self.seconds)

    def source(self, name: str, row: int | None = None) -> Path:
        return self.directory if row is None else self.files[row][name == "audio"]

    def class_names(self) -> list[str]:
        return [*self.names, BACKGROUND]

    def has_clip_labels(self) -> bool:
        return True

    def recordings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {kind: of_clip[rows, None] for kind, of_clip in self.units.items()}


def held_out(classes: np.ndarray, units: np.ndarray, training: np.ndarray, seed: int) -> np.ndarray:
    """Which training clips are held out, `[N]` of bool: of each class `HELD_SHARE`, or a little more, in whole units,
    drawn by the seed. A class of one unit gives none.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(classes), bool)
    for index in np.unique(classes):
        own = training & (classes == index) & ~held
        wanted = HELD_SHARE * own.sum()
        for unit in rng.permutation(np.unique(units[own]))[:-1]:
            if (held & own).sum() >= wanted:
                break
            held |= training & (units == unit)
    return held


def picture(path: Path) -> np.ndarray:
    """A picture of any size as patches, `[7, 7, 768]`, standardised by `MEAN` and `DEVIATION`.

    Raises:
        InputError: it is no readable picture.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    except Exception as error:  # Pillow raises whatever its decoders do
        raise InputError(f"{path} is no readable picture: {one_line(error)}") from None
    scaled = (pixels / 255 - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    grid = SIDE // PATCH
    return scaled.reshape(grid, PATCH, grid, PATCH, 3).swapaxes(1, 2).reshape(grid, grid, -1)


def sound(path: Path, seconds: int) -> np.ndarray:
    """The log-mel spectrogram of a sound file's first seconds, `[512]`: a shorter one is repeated until it fills them.

    Raises:
        InputError: it is no readable WAV file, or holds no sound.
    """
    try:
        rate, samples = wavfile.read(path)
    except Exception as error:  # SciPy raises whatever a damaged header makes it
        raise InputError(f"{path} is no readable WAV file: {one_line(error)}") from None
    if not samples.size or rate <= 0:
        raise InputError(f"{path} holds no sound")
    scale = np.iinfo(samples.dtype).max if samples.dtype.kind == "i" else 1.0
    wave = samples.astype(np.float64) / scale if samples.dtype.kind != "u" else samples / 128.0 - 1.0
    wave = wave.reshape(len(wave), -1).mean(1)
    common = gcd(rate, RATE)
    wave = np.resize(resample_poly(wave, RATE // common, rate // common), seconds * RATE).clip(-1, 1)
    spectrogram = log_mel(torch.from_numpy(wave.astype(np.float32))[None])[0].numpy()
    return np.concatenate([part.mean(0) for part in np.array_split(spectrogram, TIMES)])
