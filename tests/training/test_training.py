"""Training: resuming is exact, protocols pick where they say, a run directory is never used twice."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from small import small_experiment, write_ave
from spy import spied, spying

from snn_cace.config import Experiment, as_yaml, read_config
from snn_cace.errors import InputError
from snn_cace.training.callbacks import StopOnBadLoss, epoch_progress
from snn_cace.training.checkpoints import RunFiles, load_checkpoint, write_tensors
from snn_cace.training.module import EventLocaliser
from snn_cace.training.run import train


@pytest.fixture
def ave(tmp_path: Path) -> Path:
    return write_ave(tmp_path / "ave")


def weights(run: Path, which: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / which, weights_only=True)["state_dict"]


def without_time(metrics: dict) -> dict:
    return {key: value for key, value in metrics.items() if key not in ("train_seconds", "peak_memory_mb")}


@pytest.mark.parametrize("block", ["dense", "spiking"])
def test_a_resumed_run_gives_the_numbers_of_an_uninterrupted_one(tmp_path: Path, ave: Path, block: str):
    experiment = small_experiment(ave, epochs=4, block=block)
    whole = train(experiment, tmp_path / "whole", quiet=True)

    def break_off(module: EventLocaliser) -> None:
        original(module)
        if module.current_epoch == 2:
            raise RuntimeError("the power went")

    original = EventLocaliser.on_train_epoch_start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventLocaliser, "on_train_epoch_start", break_off)
        with pytest.raises(RuntimeError, match="the power went"):
            train(experiment, tmp_path / "broken", quiet=True)
    assert not RunFiles(tmp_path / "broken").metrics.exists()
    torch.manual_seed(99)
    resumed = train(experiment, tmp_path / "broken", resume=True, quiet=True)

    assert without_time(resumed) == without_time(whole)
    broken = weights(tmp_path / "broken")
    for key, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, broken[key]) if torch.is_tensor(value) else value == broken[key], key
    histories = [json.loads((tmp_path / run / "history.json").read_text()) for run in ("whole", "broken")]
    assert histories[0] == histories[1]
    assert [epoch["epoch"] for epoch in histories[0]] == [0, 1, 2, 3]


@pytest.mark.slow
def test_training_through_a_compiled_network_gives_the_same_and_stores_it_plain(
    tmp_path: Path, ave: Path, monkeypatch: pytest.MonkeyPatch
):
    """Traced and differentiated as any compiled network, but run by PyTorch's own kernels, so that it takes seconds."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    experiment = small_experiment(ave, epochs=2, block="spiking")
    model = experiment.model
    model.encoder_layers = 1
    experiment.data.batch_size = 6  # one size of batch, one compilation
    model.dropout = model.relation_dropout = model.interaction_dropout = 0.0
    losses = {}
    for how in ("off", "default"):
        experiment.training.compile = how
        train(experiment, tmp_path / how, quiet=True)
        history = json.loads((tmp_path / how / "history.json").read_text())
        losses[how] = [epoch["train/loss"] for epoch in history]
    assert losses["default"] == pytest.approx(losses["off"], rel=1e-4)
    assert weights(tmp_path / "default").keys() == weights(tmp_path / "off").keys()


def test_a_run_holds_what_the_contract_names(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, block="spiking")
    metrics = train(experiment, tmp_path / "run", quiet=True)
    files = RunFiles(tmp_path / "run")
    assert read_config(files.config, Experiment) == experiment
    assert json.loads(files.metrics.read_text()) == metrics
    terms = {"segment_accuracy", "relevance", "gate", "event", "av", "contrastive", "loss"}
    assert set(metrics["val"]) == set(metrics["test"]) == terms
    assert files.best.is_file() and files.last.is_file()
    logged = json.loads(files.history.read_text())[-1]
    assert {f"{stage}/{term}" for stage in ("train", "val") for term in terms} <= set(logged)
    assert {
        "lr-Adam",
        "firing_rate/audio_temporal.projection.layer",
        "firing_rate/visual_temporal.projection.layer",
    } <= set(logged)
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents*"))


def test_output_that_is_no_terminal_gets_a_line_an_epoch(
    tmp_path: Path, ave: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    train(small_experiment(ave, epochs=2), tmp_path / "run")
    printed = capsys.readouterr()
    accuracies = [e["val/segment_accuracy"] for e in json.loads(RunFiles(tmp_path / "run").history.read_text())]
    lines = [f"epoch {epoch}: val/segment_accuracy {value:.4g}" for epoch, value in enumerate(accuracies)]
    assert printed.out.splitlines()[-2:] == lines and "\r" not in printed.out and printed.err == ""
    train(small_experiment(ave, epochs=1, block="spiking"), tmp_path / "spiking")
    (epoch,) = json.loads(RunFiles(tmp_path / "spiking").history.read_text())
    audio, visual = (epoch[f"firing_rate/{which}_temporal.projection.layer"] for which in ("audio", "visual"))
    assert epoch["firing_rate"] == pytest.approx((8 * audio + 16 * visual) / 24)  # of so many neurons
    line = f"epoch 0: val/segment_accuracy {epoch['val/segment_accuracy']:.4g}, firing_rate {epoch['firing_rate']:.4g}"
    assert line in capsys.readouterr().out.splitlines()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert isinstance(epoch_progress(), TQDMProgressBar)


def test_learning_rate_is_multiplied_after_each_milestone(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=4)
    experiment.training.milestones, experiment.training.decay = [1, 3], 0.5
    train(experiment, tmp_path / "run", quiet=True)
    rates = [epoch["lr-Adam"] for epoch in json.loads((tmp_path / "run" / "history.json").read_text())]
    assert rates == pytest.approx([7e-4, 3.5e-4, 3.5e-4, 1.75e-4])


def test_the_best_epoch_is_picked_on_the_split_the_protocol_names(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave)
    by_validation = train(experiment, tmp_path / "validation", quiet=True)
    experiment.training.protocol = "paper"
    by_test = train(experiment, tmp_path / "paper", quiet=True)
    assert (by_validation["selected_on"], by_test["selected_on"]) == ("val", "test")
    for run, metrics in (("validation", by_validation), ("paper", by_test)):
        history = json.loads((tmp_path / run / "history.json").read_text())
        accuracies = [epoch["val/segment_accuracy"] for epoch in history]
        assert metrics["best_epoch"] == accuracies.index(max(accuracies))
        assert metrics[metrics["selected_on"]]["segment_accuracy"] == pytest.approx(max(accuracies), rel=1e-5)


def test_enhancement_comes_on_after_its_share_of_epochs_and_stays(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=4)
    experiment.model.contrast.start = 0.5
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        original = EventLocaliser.on_train_epoch_start

        def spy(module: EventLocaliser) -> None:
            original(module)
            seen.append((module.network.enhance, module.contrastive_on))

        patch.setattr(EventLocaliser, "on_train_epoch_start", spy)
        train(experiment, tmp_path / "run", quiet=True)
    assert seen == [(False, False), (False, False), (True, True), (True, True)]
    assert load_checkpoint(RunFiles(tmp_path / "run").last).network.enhance


@pytest.mark.parametrize("block", ["dense", "spiking", "braincog"])
@pytest.mark.parametrize("precision", ["64", "bf16-mixed"])
def test_other_precisions_train_to_finite_losses(tmp_path: Path, ave: Path, precision: str, block: str):
    experiment = small_experiment(ave, epochs=1, block=block)
    experiment.training.precision = precision
    metrics = train(experiment, tmp_path / "run", quiet=True)
    assert all(abs(value) < float("inf") for value in metrics["test"].values())
    dtype = torch.float64 if precision == "64" else torch.float32
    assert weights(tmp_path / "run")["network.head.event.weight"].dtype is dtype


def test_a_used_directory_is_refused_and_left_as_it_was(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=1)
    train(experiment, tmp_path / "run", quiet=True)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="is not empty; give a fresh --output"):
        train(experiment, tmp_path / "run", quiet=True)
    with pytest.raises(InputError, match="holds a finished run"):
        train(experiment, tmp_path / "run", resume=True, quiet=True)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_refused_training_leaves_no_lock_and_no_directory(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=1)
    used = tmp_path / "used"
    used.mkdir()
    (used / "notes.txt").write_text("mine")
    for resume, message in ((False, "is not empty"), (True, "holds no run to resume")):
        with pytest.raises(InputError, match=message):
            train(experiment, used, resume=resume, quiet=True)
    assert [path.name for path in used.iterdir()] == ["notes.txt"]


def test_numba_switched_off_for_other_code_breaks_no_training(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=1, block="spiking")
    (tmp_path / "x.yaml").write_text(as_yaml(experiment))
    words = ["train", "--config", tmp_path / "x.yaml", "--output", tmp_path / "off", "--quiet", "--device", "cpu"]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-m", "snn_cace", *map(str, words)], env=environment, check=True, timeout=300)
    assert RunFiles(tmp_path / "off").metrics.is_file()


def test_resuming_with_another_config_names_the_key(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=1)
    train(experiment, tmp_path / "run", quiet=True)
    (tmp_path / "run" / "metrics.json").unlink()
    experiment.training.learning_rate = 0.5
    with pytest.raises(InputError, match=r"was started with another training\.learning_rate"):
        train(experiment, tmp_path / "run", resume=True, quiet=True)
    with pytest.raises(InputError, match=r"holds no run to resume"):
        train(experiment, tmp_path / "nothing", resume=True, quiet=True)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_loss_that_is_no_number_ends_with_one_line_and_stores_nothing(
    tmp_path: Path, ave: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
):
    """On CUDA losses are looked at once an epoch, before it is evaluated: here as there."""
    if not at_once:
        monkeypatch.setattr(
            StopOnBadLoss, "on_train_batch_end", lambda self, trainer, module, out, *_: self.losses.append(out["loss"])
        )
    experiment = small_experiment(ave)
    experiment.training.learning_rate = 1e30
    experiment.training.gradient_clip = 0
    with pytest.raises(InputError, match=r"the loss is nan in epoch \d, batch \d; lower training\.learning_rate"):
        train(experiment, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_bad_features_met_in_training_leave_the_directory_for_the_same_command(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=1)
    with h5py.File(ave / "audio_feature.h5", "r+") as file:
        right = file["avadataset"][0]
        file["avadataset"][0] = np.nan
    for there in (False, True):
        if there:
            (tmp_path / "run").mkdir()
        with pytest.raises(InputError, match="row 0 holds NaN or infinity"):
            train(experiment, tmp_path / "run", quiet=True)
        assert (tmp_path / "run").exists() is there
    assert not list((tmp_path / "run").iterdir())
    with h5py.File(ave / "audio_feature.h5", "r+") as file:
        file["avadataset"][0] = right
    assert train(experiment, tmp_path / "run", quiet=True)["best_epoch"] == 0


def test_a_checkpoint_whose_optimiser_had_other_parameters_does_not_resume(tmp_path: Path, ave: Path):
    experiment = small_experiment(ave, epochs=2)
    train(experiment, tmp_path / "run", quiet=True, until=1)
    last = RunFiles(tmp_path / "run").last
    content = torch.load(last, weights_only=True)
    content["optimizer_states"][0]["param_groups"][0]["params"].append(10_000)
    write_tensors(last, content)
    with pytest.raises(InputError, match=r"last\.ckpt trained \d+ parameters where this version has \d+; start afresh"):
        train(experiment, tmp_path / "run", resume=True, quiet=True)


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path, ave: Path):
    """DDP on the CPU, by --training.devices and by torchrun: one run, an evaluation on all clips, no denormals."""
    experiment = small_experiment(ave, epochs=2, block="spiking")
    (tmp_path / "config.yaml").write_text(as_yaml(experiment))
    words = ["train", "--quiet", "--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "run")]
    command = [sys.executable, "-m", "snn_cace", *words, "--training.devices", "2"]
    environment = spying(tmp_path)  # of both, since sums of two threads are not those of one to the last bit
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    assert spied(tmp_path / "spied.txt") == ({"0.0"}, 2)
    files = RunFiles(tmp_path / "run")
    assert json.loads(files.metrics.read_text())["best_epoch"] in (0, 1)
    with np.load(files.predictions) as predictions:
        assert predictions["index"].tolist() == [9, 10, 11]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *command[1:]]
    torchrun[torchrun.index(str(tmp_path / "run"))] = str(tmp_path / "again")
    printed = subprocess.run(torchrun, env=environment, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    assert spied(tmp_path / "spied.txt") == ({"0.0"}, 4)
    assert RunFiles(tmp_path / "again").history.read_text() == files.history.read_text()
