"""The reader of LLP (Tian et al., ECCV 2020, arXiv:2007.10558), whose clips are parsed into what is heard and what is
seen, learned from labels of clips alone; features as its authors publish them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snn_cace.config import DataConfig
from snn_cace.data.labels import BACKGROUND
from snn_cace.data.readers.base import Layout, Reader
from snn_cace.data.readers.files import finite_features, folder_within, read_features, read_rows, refuse_missing
from snn_cace.errors import InputError

CLASSES = (
    "Speech", "Car", "Cheering", "Dog", "Cat", "Frying_(food)", "Basketball_bounce", "Fire_alarm", "Chainsaw", "Cello",
    "Banjo", "Singing", "Chicken_rooster", "Violin_fiddle", "Vacuum_cleaner", "Baby_laughter", "Accordion",
    "Lawn_mower", "Motorcycle", "Helicopter", "Acoustic_guitar", "Telephone_bell_ringing", "Baby_cry_infant_cry",
    "Blender", "Clapping",
)  # fmt: skip
LISTS = {"train": "AVVP_train.csv", "val": "AVVP_val_pd.csv", "test": "AVVP_test_pd.csv"}
EVENTS = ("AVVP_eval_audio.csv", "AVVP_eval_visual.csv")
COLUMNS = ("filename", "onset", "offset", "event_labels")
KINDS = ("vggish", "res152", "r2plus1d_18")
ID_LENGTH = 11
"""Characters of a clip's name by which its features are called."""


class LlpReader(Reader):
    """A directory with the tables `AVVP_*.csv`, or `data` that holds them, and folders `vggish`, `res152` and
    `r2plus1d_18`, or `feats` that holds them, with a file for each clip, called by the first 11 characters of its name.

    Its classes are the tables' twice: heard, and then seen. When something is heard or seen in a training clip nobody
    says: each of its segments has the labels of the clip, which weak supervision does not read.
    """

    label_kind = "by-modality"

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        self.tables, self.features = folder_within(self.directory, "data"), folder_within(self.directory, "feats")
        self.names: list[str] = []
        listed, orders = list[np.ndarray](), {}
        for split, table in LISTS.items():
            before = len(listed)
            listed += read_list(self.tables / table, self.names)
            orders[split] = np.arange(before, len(listed))
        self.present = np.tile(np.array(listed), 2)
        for kind in KINDS:
            files = [f"{name[:ID_LENGTH]}.npy" for name in self.names]
            refuse_missing(self.features / kind, files, self.tables / LISTS["train"])
        self.shapes = {kind: read_features(self.path(0, kind)).shape for kind in KINDS}
        (segments, audio), (pictures, visual), (motions, motion) = (self.shapes[kind] for kind in KINDS)
        if pictures % segments or motions != segments:
            raise InputError(f"{self.features}: clip '{self.names[0]}' has {self.shapes}, not [T, C], [n T, C], [T, C]")
        sizes = (len(self.names), segments, 1, 1, visual + motion, audio, 2 * len(CLASSES))
        self.layout = Layout(*sizes, orders)
        self.events = np.stack([self.read_events(self.tables / table) for table in EVENTS], 2)

    def read_events(self, path: Path) -> np.ndarray:
        """Which segments of each clip have each class, `[N, T, C]` of bool; an InputError naming a line that is bad."""
        events = np.zeros((len(self.names), self.layout.segments, len(CLASSES)), bool)
        rows = {name: row for row, name in enumerate(self.names)}
        for line, (name, onset, offset, label) in enumerate(read_rows(path, COLUMNS, "\t"), start=2):
            try:
                start, end, index = int(float(onset)), int(float(offset)), CLASSES.index(label)
            except (ValueError, OverflowError):
                end, start = -1, 0
            if not 0 <= start <= end:
                told = f"expected seconds and one of the classes, not '{label}' from '{onset}' to '{offset}'"
                raise InputError(f"{path}, line {line}: {told}")
            if name in rows:
                events[rows[name], start:end, index] = True
        return events

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        if name == "clip_labels":
            return with_background(self.present[rows])
        if name == "labels":
            known = self.events[rows].reshape(len(rows), self.layout.segments, -1)
            training = np.isin(rows, self.layout.orders["train"])[:, None, None]
            return with_background(np.where(training, self.present[rows, None], known))
        return super().read(name, rows)

    def read_row(self, name: str, row: int) -> np.ndarray:
        if name == "audio":
            return self.array(row, "vggish")
        pictures = self.array(row, "res152").reshape(self.layout.segments, -1, self.shapes["res152"][1]).mean(1)
        return np.concatenate([pictures, self.array(row, "r2plus1d_18")], 1)[:, None, None]

    def array(self, row: int, kind: str) -> np.ndarray:
        path = self.path(row, kind)
        found = finite_features(path).astype(np.float32)
        if found.shape != self.shapes[kind]:
            raise InputError(f"{path} holds {list(found.shape)}, the first clip's file {list(self.shapes[kind])}")
        return found

    def path(self, row: int, kind: str) -> Path:
        return self.features / kind / f"{self.names[row][:ID_LENGTH]}.npy"

    def source(self, name: str, row: int | None = None) -> Path:
        if name in LISTS:
            return self.tables / LISTS[name]
        if name not in ("visual", "audio"):
            return self.tables
        kind = KINDS[name == "visual"]
        return self.features / kind if row is None else self.path(row, kind)

    def class_names(self) -> list[str]:
        return [f"{how} {name}" for how in ("heard", "seen") for name in CLASSES] + [BACKGROUND]

    def has_clip_labels(self) -> bool:
        return True


def with_background(events: np.ndarray) -> np.ndarray:
    """`[..., C]` of bool as labels `[..., C + 1]`: background where there is none."""
    return np.concatenate([events, ~events.any(-1, keepdims=True)], -1).astype(np.float32)


def read_list(path: Path, names: list[str]) -> list[np.ndarray]:
    """Which classes each clip of a table has, `[C]` of bool; their names are added to `names`.

    Raises:
        InputError: a clip that is there twice, or an unknown class; with the line's number.
    """
    seen, listed = {*names}, []
    for line, (name, labels) in enumerate(read_rows(path, ("filename", "event_labels"), "\t"), start=2):
        unknown = [label for label in labels.split(",") if label not in CLASSES]
        if unknown or name in seen or not name or Path(name).name != name:
            problem = (
                f"'{unknown[0]}' is no class" if unknown else f"clip '{name}' is there twice, or no name of a file"
            )
            raise InputError(f"{path}, line {line}: {problem}")
        seen.add(name)
        names.append(name)
        listed.append(np.isin(CLASSES, labels.split(",")))
    return listed
