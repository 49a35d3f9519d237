"""A data set that the package does not know: this file's own, named in configs as `test_outside_reader:Tones`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import small_experiment

from snn_cace.cli import main
from snn_cace.config import DataConfig, Experiment, as_dict, as_yaml, from_dict, put_over
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.base import Layout, Reader
from snn_cace.errors import InputError

NAME = f"{Path(__file__).stem}:Tones"
CLASSES = ["low", "middle", "high", "none"]


class Tones(Reader):
    """Sixteen clips of three segments: one tone of three, over the last two; a directory holds nothing."""

    def __init__(self, config: DataConfig) -> None:
        rows = np.arange(16)
        self.layout = Layout(16, 3, 1, 2, 5, 4, 3, {"train": rows[:8], "val": rows[8:12], "test": rows[12:]})
        classes = np.stack([np.full(16, 3), rows % 3, rows % 3], 1)
        noise = np.random.default_rng(0).random((16, 3, 1, 2, 5), np.float32)
        self.arrays = {"visual": noise, "audio": np.eye(4)[classes], "labels": np.eye(4)[classes]}

    def read(self, name: str, rows: np.ndarray) -> np.ndarray:
        return self.arrays[name][rows]

    def class_names(self) -> list[str]:
        return CLASSES


@pytest.mark.usefixtures("undrawn")
def test_a_data_set_from_elsewhere_is_trained_on_compared_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    plain = put_over(as_dict(small_experiment(None, epochs=1)), {"data.reader": NAME})
    for block in ("dense", "spiking"):
        own = {"name": block, "model.slots.temporal_encoder.block": block}
        (tmp_path / f"{block}.yaml").write_text(as_yaml(from_dict(put_over(plain, own), Experiment, "test")))
    (tmp_path / "compare.yaml").write_text("name: tones\nexperiments: [dense.yaml, spiking.yaml]\nseeds: [0]\n")
    out = tmp_path / "out"
    assert main(["compare", "--config", str(tmp_path / "compare.yaml"), "--output", str(out)]) == 0
    result = json.loads((out / "comparison.json").read_text())
    assert (result["dataset"], result["classes"], result["test_clips"]) == ("Tones", CLASSES, 4)
    run = ["--checkpoint", str(out / "spiking" / "seed-0")]
    assert main(["predict", *run, "--output", str(tmp_path / "predicted")]) == 0
    assert np.load(tmp_path / "predicted" / "predictions.npz")["segment_relevance"].shape == (4, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tones", "data.reader: no reader 'tones'; give ave, avdigits, .*or package.module:Class"),
        (
            "nowhere:Tones",
            "data.reader: nowhere:Tones cannot be imported: No module named 'nowhere'; run where nowhere lies",
        ),
        ("pathlib:Path", "data.reader: pathlib:Path is no class derived from"),
    ],
)
def test_what_is_no_reader_is_refused(name: str, message: str):
    with pytest.raises(InputError, match=message):
        open_reader(DataConfig(reader=name))
