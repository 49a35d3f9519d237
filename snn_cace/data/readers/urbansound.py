"""The reader of UrbanSound8K-AV (Guo et al., IEEE TCDS 2023), a picture beside each sound of UrbanSound8K (Salamon et
al., MM 2014, doi 10.1145/2647868.2655045), split as S-CMRL's program does.
"""

from __future__ import annotations

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data.readers.classified import ClassifiedClips
from snn_cace.errors import InputError

CLASSES = (
    "air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling", "engine_idling", "gun_shot",
    "jackhammer", "siren", "street_music",
)  # fmt: skip
TRAINING_SHARE = 0.7
"""Of each class, in the order of file names; the rest is tested on."""


class UrbanSoundReader(ClassifiedClips):
    """A directory with `Dataset_v3_vision/CLASS/NAME.jpg` and `Dataset_v3_sound/CLASS/NAME.wav`.

    UrbanSound8K calls a slice `RECORDING-CLASS-OCCURRENCE-SLICE`. Slices of one recording are not independent: none is
    validated on whose recording is trained on.
    """

    names = CLASSES
    seconds = 4
    held_by = "recording"

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        files, classes, testing = [], [], []
        for index, name in enumerate(CLASSES):
            pictures = sorted((self.directory / "Dataset_v3_vision" / name).glob("*.jpg"))
            sounds = self.directory / "Dataset_v3_sound" / name
            files += [(path, sounds / f"{path.stem}.wav") for path in pictures]
            classes += [index] * len(pictures)
            testing += [place >= round(TRAINING_SHARE * len(pictures)) for place in range(len(pictures))]
        if not files:
            raise InputError(f"{self.directory} holds no Dataset_v3_vision/CLASS/NAME.jpg of {', '.join(CLASSES)}")
        missing = next((sound for _, sound in files if not sound.is_file()), None)
        if missing is not None:
            raise InputError(f"no file {missing}, the sound of a picture in Dataset_v3_vision")
        stems = [f"{path.parent.name}/{path.stem.split('-')[0]}" for path, _ in files]
        recordings = np.unique(stems, return_inverse=True)[1]
        self.lay_out(config, files, np.array(classes), np.array(testing), {"recording": recordings})
