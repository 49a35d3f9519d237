"""The verb `spikes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from snn_cace.commands import Split, extra_packages, fitting_data, writing
from snn_cace.config import Experiment, NonNegativeInt
from snn_cace.errors import InputError

if TYPE_CHECKING:
    from snn_cace.analysis.record import RunRecord
    from snn_cace.counting.energy import Prices
    from snn_cace.data.batches import ClipData
    from snn_cace.training.checkpoints import Trained


def spikes(
    trained: Trained,
    experiment: Experiment,
    output: str,
    split: Split = "test",
    clip: NonNegativeInt = 0,
    energy: str | None = None,
    event_driven: bool = False,
    format: Literal["none", "neo"] = "none",
    quiet: bool = False,
) -> None:
    """Firing rates, rasters, accuracy against simulation steps and operations of a checkpoint.

    Args:
        output: directory to write spikes.json, spikes.csv, figures and TensorBoard into.
        split: which clips.
        clip: which clip of the split the raster shows.
        energy: file of prices put over those of the models in snn_cace/counting/models.
        event_driven: run clips once more as event-driven hardware would, linear layers of spikes only adding columns of
            weights, and hold outputs and additions against the normal run and the count.
        format: neo also writes the spikes of a few clips as spikes.nix, which Neo and tools that build on it read.
        quiet: no progress bars.
    """
    from snn_cace.analysis.anytime import simulation_steps
    from snn_cace.analysis.record import record_network
    from snn_cace.counting.energy import read_prices
    from snn_cace.counting.execution import execute
    from snn_cace.files import write_json
    from snn_cace.report.spikes import write_spike_report
    from snn_cace.runtime import pick_device

    data, prices = fitting_data(trained, experiment), read_prices(energy)
    dataset = data.dataset(split)
    if not simulation_steps(experiment):
        raise InputError(f"{experiment.name} has no spiking slot: there are no spikes to analyse")
    if clip >= len(dataset):
        raise InputError(f"--clip {clip}: the {split} split has clips 0 to {len(dataset) - 1}")
    with writing(output, "spikes.json") as path:
        device = pick_device(experiment.training.device)
        record = record_network(trained.network, data, split, clip, experiment, device, quiet)
        result = described(record, trained, experiment, str(data.directory), split, len(dataset), prices)
        if event_driven:
            result["executed"] = vars(execute(trained.network, dataset))
        if format == "neo":
            write_nix(path.with_name("spikes.nix"), trained, data, split)
        write_json(path, result)
        write_spike_report(result, path.parent)
        print_summary(result)
        print(path)


def write_nix(path: Path, trained: Trained, data: ClipData, split: Split) -> None:
    """The spikes of a few clips, for Neo."""
    from snn_cace.files import replacing

    with extra_packages("spikes --format neo", "analysis"):
        from neo.io import NixIO

        from snn_cace.analysis.trains import CLIPS, as_neo

    names = data.reader.class_names()
    block = as_neo(trained.network.cpu().float().eval(), data.dataset(split), CLIPS, names)
    with replacing(path) as temporary:
        file = NixIO(str(temporary), "ow")
        file.write_block(block)
        file.close()
    print(f"{path}: {len(block.segments)} clips, {sum(len(s.spiketrains) for s in block.segments):,} spike trains")


def described(
    record: RunRecord, trained: Trained, experiment: Experiment, directory: str, split: str, clips: int, prices: Prices
) -> dict[str, Any]:
    """What spikes.json holds of a record."""
    from snn_cace.counting.energy import energies_mj, sources
    from snn_cace.counting.operations import summed

    plain = record.as_json()
    return {
        "version": record.version,
        "experiment": experiment.name,
        "data": directory,
        "split": split,
        "clips": clips,
        **{key: plain[key] for key in ("classes", "segment_accuracy", "simulation_steps")},
        **plain["network"],
        **{key: plain[key] for key in ("layers", "anytime", "raster")},
        "checkpoint": str(trained.path),
        "counts": {
            count: {
                "operations": vars(summed(modules)),
                "energy_mj": energies_mj(modules, prices),
                "modules": plain["counted"][count],
            }
            for count, modules in record.counted.items()
        },
        "readers": record.readers,
        "prices": sources(prices),
    }


def print_summary(result: dict[str, Any]) -> None:
    """Accuracy, and how much the network, each layer, and the network with fewer simulation steps fire."""
    from neurons import LayerActivity
    from snn_cace.counting.models import MODELS

    light = [name for name, model in MODELS.items() if model.compared]
    print(
        f"{result['split']}: segment accuracy {result['segment_accuracy']:.2f} %, "
        f"firing rate {result['firing_rate']:.3f}"
    )
    for name, layer in result["layers"].items():
        print(
            f"  {name}: firing rate {layer['firing_rate']:.3f}, dead {100 * layer['dead']:.1f} %, "
            f"saturated {100 * layer['saturated']:.1f} %"
        )
        if warning := LayerActivity(layer["firing_rate"], layer["dead"], layer["saturated"]).warning(name):
            print(f"  unhealthy layer {warning}")
    for count, counted in result["counts"].items():
        spent = {name: energy for name, energy in counted["energy_mj"].items() if name in light}
        energies = ", ".join(f"{1000 * energy:.4g} by {model}" for model, energy in spent.items())
        print(f"  energy in µJ per clip, without encoders, {count.replace('_', '-')} count: {energies}")
    executed = result.get("executed")
    if executed:
        print(
            f"  run event-driven on {executed['clips']} clips: {sum(executed['additions'].values()):,} additions in "
            f"{len(executed['additions'])} layers, the count says {sum(executed['counted'].values()):,}; outputs "
            f"differ by at most {executed['largest_difference']:.1e} of the largest"
        )
    for depth in result["anytime"]["depths"]:
        print(f"  accuracy at S = {depth['steps']} simulation steps: {depth['segment_accuracy']:.2f} %")
