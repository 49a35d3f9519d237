"""The reader of AV-Digits (`snn_cace.data.avdigits`), which is made on first use."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from snn_cace.config import AVDigitsConfig, DataConfig
from snn_cace.data.avdigits import cached_avdigits, make_clips, to_pictures
from snn_cace.data.readers.ave import AveReader
from snn_cace.data.readers.base import SPLITS
from snn_cace.errors import InputError


class AVDigitsReader(AveReader):
    """AV-Digits, whose pictures are its features, and in which it is known where the class's digit is."""

    def __init__(self, config: DataConfig) -> None:
        if config.directory is not None:
            raise InputError("data.reader: avdigits makes its own clips; leave out data.directory, or data.reader")
        self.config = config.avdigits
        super().__init__(dataclasses.replace(config, directory=str(cached_avdigits(config.avdigits))))

    def places(self, rows: np.ndarray) -> np.ndarray:
        return all_places(*dataclasses.astuple(self.config))[rows]

    def pictures(self, visual: np.ndarray) -> np.ndarray:
        return to_pictures(visual)


@functools.lru_cache(maxsize=1)
def all_places(*config: int) -> np.ndarray:
    """The patches that the class's digit covers in every clip, `[N, T, 7, 7]`, by the fields of an `AVDigitsConfig`;
    making them takes longer than what they are needed for.
    """
    return np.concatenate([make_clips(AVDigitsConfig(*config), split).places for split in SPLITS])
