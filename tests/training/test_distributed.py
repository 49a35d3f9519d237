"""One network trained by two processes on CPUs (gloo): the numbers of one process, whatever share each has."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_experiment, write_ave

from neurons import Dropout
from snn_cace.config import Experiment, as_yaml
from snn_cace.data.batches import BatchShare
from snn_cace.errors import InputError
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.run import train

HELPER = Path(__file__).parents[1] / "helpers" / "train_together.py"
ORDERS = {"train": [0, 1, 2, 3, 4, 5, 6], "val": [7, 8, 9, 10, 11], "test": [12, 13, 14]}
"""In batches of four: a last batch of three, shared two and one; in validation of one, of which a process has none."""


def without_chance(directory: Path, block: str, orders: dict[str, list[int]] = ORDERS) -> Experiment:
    """An experiment that draws nothing while it trains, since each process draws for itself."""
    write_ave(directory, orders=orders, clips=15)
    experiment = small_experiment(directory, epochs=4, block=block)
    experiment.model.dropout = experiment.model.relation_dropout = experiment.model.interaction_dropout = 0.0
    experiment.model.contrast.noise = 0.0
    experiment.model.contrast.start = 0.5
    experiment.training.precision = "64"  # where no rounding decides whether a neuron fires
    return experiment


def experiments(directory: Path) -> dict[str, Experiment]:
    dense = without_chance(directory / "data", "dense")
    braincog = without_chance(directory / "data", "braincog")
    normed = without_chance(directory / "data", "spiking")
    normed.model.spiking.norm = "batch"
    normed.model.slots.feed_forward["block"] = "spiking"
    normed.training.firing_rate_weight = normed.training.energy_weight = 1.0
    normed.training.energy_target = 0.0
    lonely = without_chance(directory / "lonely", "spiking", ORDERS | {"train": [0, 1, 2, 3, 4]})
    lonely.training.losses = "reference"
    lonely.model.slots.event_head["block"] = "spiking"  # whose norm then sees one value per channel
    ragged = without_chance(directory / "data", "braincog")
    ragged.data.directory, ragged.data.reader = None, "test_lengths:Ragged"
    ragged.data.batch_size = 3  # of eight clips: a last batch of two, and in validation one of a single clip
    ragged.model.spiking.norm = "batch"
    ragged.model.slots.feed_forward["block"] = "spiking"
    return {"dense": dense, "braincog": braincog, "ragged": ragged, "lonely": lonely, "normed": normed}


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Metrics exactly and losses to 1e-6: with batch norm over clips and over each segment's copies, with a last batch
    that does not divide, one of a single clip, clips of different lengths, and the contrast coming on half-way.
    """
    tests = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(str(tests / "data"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tests / "data"), *sys.path]))
    monkeypatch.setattr(Dropout, "forward", lambda self, values: values)
    found = experiments(tmp_path)
    for name, experiment in found.items():
        experiment.training.devices = 2
        (tmp_path / f"{name}.yaml").write_text(as_yaml(experiment))
        experiment.training.devices = 1
    together = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(HELPER)]
    configs = [str(tmp_path / f"{name}.yaml") for name in found]
    done = subprocess.run([*together, str(tmp_path / "two"), *configs], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for name, experiment in found.items():
        train(experiment, tmp_path / "one" / name, quiet=True)
        one, two = RunFiles(tmp_path / "one" / name), RunFiles(tmp_path / "two" / name)
        for before, after in zip(*(json.loads(f.history.read_text()) for f in (one, two)), strict=True):
            assert before.keys() == after.keys()
            for key, value in before.items():
                exact = key.endswith("accuracy") or key.startswith(("dead/", "saturated/", "firing_rate/"))
                assert after[key] == (value if exact else pytest.approx(value, rel=1e-6)), (name, key)
        with np.load(one.predictions) as alone, np.load(two.predictions) as shared:
            assert alone["index"].tolist() == shared["index"].tolist()
            assert name == "ragged" or alone["index"].tolist() == ORDERS["test"]
            np.testing.assert_allclose(alone["segment_relevance"], shared["segment_relevance"], rtol=1e-6)
    whole, broken = (RunFiles(tmp_path / "two" / name) for name in ("normed", "broken"))
    assert broken.history.read_text() == whole.history.read_text()
    states = (torch.load(files.last, weights_only=True)["state_dict"] for files in (whole, broken))
    for (key, value), (other, same) in zip(*(state.items() for state in states), strict=True):
        assert key == other and (torch.equal(value, same) if torch.is_tensor(value) else value == same)


@pytest.mark.parametrize(("clips", "batch_size", "processes"), [(7, 4, 2), (5, 4, 2), (9, 4, 3), (3, 8, 4), (1, 1, 2)])
def test_processes_share_every_batch_without_losing_or_doubling_a_clip(clips: int, batch_size: int, processes: int):
    shares = [list(BatchShare(range(clips), batch_size, processes, rank)) for rank in range(processes)]
    whole = list(BatchShare(range(clips), batch_size))
    assert all(len(share) == len(whole) for share in shares)
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert sorted(itertools.chain(*parts)) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_torchrun_with_another_number_of_processes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match=r"torchrun started 3 processes, training.devices times nodes is 1"):
        train(small_experiment(None), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
