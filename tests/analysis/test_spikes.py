"""Spike analysis of a network on a data set: against brute force, by hand, and through the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import CLASSES, SPLIT_ROWS, small_experiment, write_ave

from neurons import SpikingLayer
from snn_cace.analysis.anytime import Depth, anytime, carries_membranes, early_exit, evaluated_steps, with_steps
from snn_cace.analysis.record import record_network
from snn_cace.cli import main
from snn_cace.commands.spikes import print_summary
from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.counting.energy import read_prices, with_reuse
from snn_cace.counting.operations import COUNTS
from snn_cace.data.batches import ClipData
from snn_cace.errors import InputError
from snn_cace.model import CaceNet
from snn_cace.report.spikes import write_spike_report
from snn_cace.training.checkpoints import RunFiles, save_checkpoint
from snn_cace.training.evaluation import evaluate_network

CPU = torch.device("cpu")
SPIKING = {"block": "spiking", "steps": 4, "threshold": 0.2}


def experiment_with(tmp_path: Path, **slots: dict[str, Any]) -> Experiment:
    if not (tmp_path / "ave").is_dir():
        write_ave(tmp_path / "ave")
    experiment = small_experiment(tmp_path / "ave")
    for name, slot in slots.items():
        setattr(experiment.model.slots, name, slot)
    return experiment


def network_of(experiment: Experiment) -> CaceNet:
    torch.manual_seed(0)
    return CaceNet(experiment.model, FeatureShape(8, 6, CLASSES)).eval()


def data_of(experiment: Experiment) -> ClipData:
    return ClipData(experiment.data, torch.float32)


def test_rates_over_a_split_equal_one_pass_over_all_its_clips(tmp_path: Path):
    experiment = experiment_with(tmp_path, temporal_encoder=SPIKING, feed_forward=SPIKING)
    experiment.data.batch_size = 2
    network, data = network_of(experiment), data_of(experiment)
    result = record_network(network, data, "test", 1, experiment, CPU).as_json()
    seen: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, SpikingLayer):
            module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    batch = data.dataset("test").__getitems__(range(3))
    with torch.no_grad():
        network(batch["visual"], batch["audio"])
    labels = batch["labels"].argmax(-1)
    assert set(result["layers"]) == set(seen)
    for name, spikes in seen.items():
        layer = result["layers"][name]
        assert layer["firing_rate"] == pytest.approx(float(spikes.mean()))
        assert layer["per_step"] == pytest.approx(spikes.mean((1, 2, 3)).tolist())
        assert layer["per_segment"] == pytest.approx(spikes.mean((0, 1, 3)).tolist())
        assert layer["event"] == pytest.approx(float(spikes[:, labels != CLASSES].mean()))
        assert layer["background"] == pytest.approx(float(spikes[:, labels == CLASSES].mean()))
        assert layer["dead"] == pytest.approx(float((spikes.sum((0, 1, 2)) == 0).float().mean()))
        assert layer["activation_sparsity"] == pytest.approx(1 - float(spikes.mean()))
        shown = result["raster"]["layers"][name]
        drawn = np.zeros((shown["times"], len(shown["neurons"])))
        if shown["spikes"]:
            drawn[tuple(np.array(shown["spikes"]).T)] = 1
        expected = spikes[:, 1].transpose(0, 1).flatten(0, 1)[:, shown["neurons"]].numpy()
        assert (drawn == expected).all()
    everything = torch.cat([spikes.flatten() for spikes in seen.values()])
    assert result["network"]["firing_rate"] == pytest.approx(float(everything.mean()))
    assert result["raster"]["index"] == SPLIT_ROWS["test"][1]


def test_every_slot_may_spike_and_be_analysed_and_drawn(tmp_path: Path):
    """The event head runs once per clip, the interaction's memory over both modalities, patches over places."""
    slots = ("visual_projection", "temporal_encoder", "feed_forward", "interaction", "event_head")
    experiment = experiment_with(tmp_path, **dict.fromkeys(slots, SPIKING))
    network, data = network_of(experiment), data_of(experiment)
    record = record_network(network, data, "test", 0, experiment, CPU)
    result = {"experiment": experiment.name} | record.as_json()
    layers = {name: module for name, module in network.named_modules() if isinstance(module, SpikingLayer)}
    assert set(result["layers"]) == set(layers)
    head = result["layers"]["head.event.hidden.layer"]
    assert (len(head["per_segment"]), head["event"], head["per_class"]) == (1, None, [None] * (CLASSES + 1))
    assert len(result["layers"]["visual_interaction.attention.key.layer"]["per_segment"]) == 10
    assert result["layers"]["visual_projection.projection.layer"]["neurons"] == 2 * 3 * 8
    write_spike_report(result, tmp_path / "out")
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == 6


def test_as_many_steps_as_trained_change_nothing_and_fewer_are_another_config(tmp_path: Path):
    experiment = experiment_with(tmp_path, temporal_encoder=SPIKING, feed_forward=SPIKING)
    network, data = network_of(experiment), data_of(experiment)
    found = anytime(network, data.loader("test"), experiment, CPU)
    assert [depth["steps"] for depth in found["depths"]] == [1, 2, 4]
    for depth in found["depths"]:
        slot = SPIKING | {"steps": depth["steps"]}
        changed = experiment_with(tmp_path, temporal_encoder=slot, feed_forward=slot)
        fresh = network_of(changed)
        fresh.load_state_dict(network.state_dict())
        expected = evaluate_network(fresh, data.loader("test"), changed, CPU, quiet=True)
        assert depth["segment_accuracy"] == pytest.approx(expected.segment_accuracy)


def test_depths_are_powers_of_two_up_to_what_was_trained(tmp_path: Path):
    assert evaluated_steps(experiment_with(tmp_path, temporal_encoder={"block": "braincog"})) == [1, 2, 4, 8, 15]
    assert evaluated_steps(experiment_with(tmp_path, feed_forward={"block": "spiking", "steps": 1})) == [1]
    assert evaluated_steps(experiment_with(tmp_path)) == []


def test_weights_per_step_cannot_run_with_fewer_and_say_so(tmp_path: Path):
    for changes in ({"node": "psn", "membrane": "reset"},):
        experiment = experiment_with(tmp_path, feed_forward=SPIKING | changes)
        with pytest.raises(InputError, match="cannot run with 2 simulation steps: it has weights per simulation step"):
            with_steps(network_of(experiment), experiment, 2)
        found = anytime(network_of(experiment), data_of(experiment).loader("test"), experiment, CPU)
        assert [depth["steps"] for depth in found["depths"]] == [4]
        assert "weights per simulation step" in found["reason"]


def test_early_exit_by_hand():
    """Three clips of two segments at depths 1, 2, 4: the first is sure at once, the second at 2, the third never."""
    runs = [
        Depth(1, np.array([[1, 1], [0, 0], [0, 0]]), np.array([0.9, 0.3, 0.2])),
        Depth(2, np.array([[1, 0], [1, 0], [0, 0]]), np.array([0.9, 0.8, 0.4])),
        Depth(4, np.array([[0, 0], [1, 1], [1, 0]]), np.array([0.9, 0.9, 0.5])),
    ]
    found = early_exit(runs, 0.8, carries=False)
    assert found["segment_accuracy"] == pytest.approx(100 * (2 + 1 + 1) / 6)
    assert found["mean_steps_run"] == pytest.approx((1 + 2 + 4) / 3)
    assert early_exit(runs, 0.8, carries=True)["mean_steps_run"] == pytest.approx((1 + 3 + 7) / 3)
    assert early_exit(runs, 2.0, carries=False)["mean_steps_run"] == 4
    assert early_exit(runs, 0.0, carries=False)["mean_steps_run"] == 1


def test_membranes_are_carried_only_where_a_slot_says_so(tmp_path: Path):
    reset = SPIKING | {"membrane": "reset"}
    assert carries_membranes(experiment_with(tmp_path, temporal_encoder=SPIKING, feed_forward=reset))
    assert carries_membranes(experiment_with(tmp_path, temporal_encoder={"block": "braincog"}))
    assert not carries_membranes(experiment_with(tmp_path, temporal_encoder=reset, interaction=SPIKING))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    experiment = experiment_with(tmp_path, temporal_encoder=SPIKING)
    files = RunFiles(tmp_path / "run")
    save_checkpoint(files.best, network_of(experiment), experiment)
    return tmp_path / "run"


def test_the_verb_writes_json_csv_figures_and_tensorboard(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["spikes", "--checkpoint", str(run), "--output", str(tmp_path / "out"), "--quiet", "--device", "cpu"]
    assert main(words) == 0
    assert "accuracy at S = 1 simulation steps" in capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "spikes.json").read_text())
    with (tmp_path / "out" / "spikes.csv").open() as file:
        rows = list(csv.DictReader(file))
    layer = "audio_temporal.projection.layer"
    written = {(row["layer"], row["what"], row["of"]): float(row["value"]) for row in rows}
    assert written[layer, "firing_rate", ""] == result["layers"][layer]["firing_rate"]
    assert written[layer, "per_step", "3"] == result["layers"][layer]["per_step"][3]
    assert written[layer, "per_class", "background"] == result["layers"][layer]["background"]
    for name in ("firing-rates", "rates-in-time", "distributions", "class-rates", "steps", "raster"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / "out" / "figures" / f"{name}.svg").read_text()
    assert any((tmp_path / "out" / "tensorboard").iterdir())
    assert list(result["counts"]) == list(COUNTS)
    assert set(result["counts"]["zero_skipping"]["energy_mj"]) == {*read_prices(), *with_reuse(read_prices())}
    before = (tmp_path / "out" / "spikes.json").read_bytes()
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "spikes.json").read_bytes() == before


def test_a_layer_with_half_of_its_neurons_dead_is_marked(capsys: pytest.CaptureFixture):
    layers = {name: {"firing_rate": 0.1, "dead": dead, "saturated": 0.0} for name, dead in (("a", 0.5), ("b", 0.49))}
    some = {"split": "test", "segment_accuracy": 50.0, "firing_rate": 0.1, "counts": {}, "anytime": {"depths": []}}
    print_summary(some | {"layers": layers})
    _, a, warning, b = capsys.readouterr().out.splitlines()
    assert "dead 50.0 %" in a and "dead 49.0 %" in b
    assert warning.startswith("  unhealthy layer a: 50 % of its neurons never fire; try a lower threshold")


def test_what_cannot_be_analysed_is_said_in_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["spikes", "--checkpoint", str(run), "--output", str(tmp_path / "out"), "--quiet", "--device", "cpu"]
    assert main([*words, "--clip", "3"]) == 2
    assert "--clip 3: the test split has clips 0 to 2" in capsys.readouterr().err
    assert main([*words, "--energy", "none.yaml"]) == 2
    assert "no config file none.yaml" in capsys.readouterr().err
    experiment = experiment_with(tmp_path)
    save_checkpoint(RunFiles(tmp_path / "ann").best, network_of(experiment), experiment)
    assert main(["spikes", "--checkpoint", str(tmp_path / "ann"), *words[3:]]) == 2
    assert "has no spiking slot" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
