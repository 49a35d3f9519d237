"""The reader of CREMA-D (Cao et al., IEEE TAFFC 5, 2014) as users of OGM-GE and S-CMRL have it: spoken sentences of 91
actors, six emotions.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data.readers.classified import ClassifiedClips
from snn_cace.errors import InputError, one_line

EMOTIONS = {"NEU": "neutral", "HAP": "happy", "SAD": "sad", "FEA": "fear", "DIS": "disgust", "ANG": "anger"}


class CremadReader(ClassifiedClips):
    """A directory with `train.csv` and `test.csv` of lines `NAME,EMOTION`, `AudioWAV/NAME.wav` and the pictures of
    `Image-01-FPS/NAME`, of which the one in the middle is seen. A name begins with the actor's number.
    """

    names = tuple(EMOTIONS.values())
    seconds = 3

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        clips = {split: read_list(self.directory / f"{split}.csv") for split in ("train", "test")}
        both = clips["train"].keys() & clips["test"].keys()
        if both:
            raise InputError(f"{self.directory}: train.csv and test.csv share {min(both)}; a clip belongs to one split")
        listed = clips["train"] | clips["test"]
        files = [(self.frame(name), self.existing("AudioWAV", f"{name}.wav")) for name in listed]
        classes = np.array([list(EMOTIONS).index(emotion) for emotion in listed.values()])
        testing = np.arange(len(listed)) >= len(clips["train"])
        actors = np.unique([name.split("_")[0] for name in listed], return_inverse=True)[1]
        self.lay_out(config, files, classes, testing, {"actor": actors})

    def frame(self, name: str) -> Path:
        folder = self.existing("Image-01-FPS", name)
        pictures = sorted(folder.glob("*.jpg"))
        if not pictures:
            raise InputError(f"{folder} holds no picture *.jpg")
        return pictures[len(pictures) // 2]

    def existing(self, folder: str, name: str) -> Path:
        path = self.directory / folder / name
        if not path.exists():
            raise InputError(f"no {path}, which train.csv or test.csv of {self.directory} lists; take it out there")
        return path


def read_list(path: Path) -> dict[str, str]:
    """The emotion of each clip that a list names, in its order.

    Raises:
        InputError: no such file, or a line that is not a new name and one of `EMOTIONS`, with its number.
    """
    clips: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not readable as a list of clips: {one_line(error)}") from None
    for line, row in enumerate(rows, start=1):
        name, emotion = [*(value.strip() for value in row), "", ""][:2]
        if name in clips or emotion not in EMOTIONS or Path(name).name != name:
            raise InputError(f"{path}, line {line}: expected a new NAME and {', '.join(EMOTIONS)}, not {row}")
        clips[name] = emotion
    return clips
