"""The verb `audit`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from neurons.nodes import imported
from snn_cace.commands import writing
from snn_cace.config import read_config
from snn_cace.errors import InputError, one_line

if TYPE_CHECKING:
    import torch
    from torch import nn


RANDOM = "inputs are random: firing rates, and all that depends on them, are not the network's on data"
UNTRAINED = "a config has no trained weights: firing rates are those of the initial ones; give a run directory"
PADDED = "clips of several lengths were counted as long as the longest; `snn-cace spikes` counts each as long as it is"
MOST_VALUES = 1e9
EXAMPLE = "torchvision.models:resnet18 --inputs 1x3x64x64"


def audit(
    network: str,
    /,
    output: str,
    inputs: list[str] | None = None,
    arguments: str | None = None,
    time_first: bool = False,
    claims: str | None = None,
    energy: str | None = None,
) -> None:
    """Operations and energy of any PyTorch network by every model, what its spikes do, and whether claims hold.

    Args:
        network: MODULE:FACTORY, a function or class that makes the network, for example torchvision.models:resnet18; or
            a run directory, checkpoint or config of this package, whose own test clips then are the inputs.
        output: directory to write audit.json, audit.html and card.md into.
        inputs: a shape such as 1x3x64x64 (uniform random numbers), 2x16:1000 (random whole numbers below 1000), or a
            .npy or .npz file, for each input of the network.
        arguments: what the factory is called with, as YAML, for example '{T: 4, num_classes: 10}'.
        time_first: inputs are [time, clips, ...], not [clips, ...].
        claims: card of claimed numbers (docs/how-to/audit.md); what does not hold is named.
        energy: file of prices put over those of the models in snn_cace/counting/models.
    """
    from snn_cace.counting.auditing import audit as audit_network
    from snn_cace.counting.claims import Claims, check_claims
    from snn_cace.counting.energy import read_prices
    from snn_cace.counting.rules import UncountedOperationError
    from snn_cace.files import write_json, write_text
    from snn_cace.report.audit import audit_card, audit_sections
    from snn_cace.report.page import Section, as_html, as_markdown

    card, prices = (read_config(Path(claims), Claims) if claims else None), read_prices(energy)
    built, tensors, notes = prepared(network, inputs, arguments)
    with writing(output, "audit.json") as path:
        try:
            found = audit_network(built, *tensors, batch_dim=int(time_first), prices=prices)
        except UncountedOperationError as error:
            raise InputError(f"{network}: {error}") from None
        except InputError:
            raise
        except Exception as error:  # a network may raise whatever it does
            shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors)
            what = f"{type(error).__name__}: {one_line(error)}"
            raise InputError(f"{network} cannot be run on {shapes}: {what}") from None
        result = {"network": network, **found.as_json()}
        result["notes"] = notes + found.notes
        sections, title = audit_sections(result), f"Audit of {network}"
        lines = check_claims(card, result) if card else []
        if card is not None:
            result["claims"] = {"claim": card.claim, "findings": lines}
            said = [f"Does not hold: {line}" for line in lines]
            sections.insert(0, Section(f"Claims: {card.claim}", said or ["All that was claimed holds."]))
        write_json(path, result)
        write_text(path.with_name("audit.html"), as_html("audit.html", title=title, sections=sections))
        card_sections = [*sections[:1], *audit_card(result)] if card else audit_card(result)
        write_text(path.with_name("card.md"), as_markdown(f"Claim card: {network}", card_sections))
        print_audit(result, lines if card else None)
        print(path.with_name("audit.html"))


def prepared(network: str, inputs: list[str] | None, arguments: str | None) -> tuple[Any, list[Any], list[str]]:
    """The network, its inputs, and what is to be said of them."""
    import torch

    if Path(network).exists():
        return of_this_package(Path(network))
    built = made(network, arguments)
    if not inputs:
        raise InputError(f"audit needs --inputs SHAPE or FILE, for example: snn-cace audit {EXAMPLE}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = [tensor for text in inputs for tensor in tensors_of(text)]
    return built, tensors, [] if all(Path(text).is_file() for text in inputs) else [RANDOM]


def made(network: str, arguments: str | None) -> nn.Module:
    """What the factory that `network` names makes."""
    import torch
    from torch import nn

    try:
        given = yaml.safe_load(arguments or "{}")
    except yaml.YAMLError as error:
        raise InputError(f"--arguments is not YAML: {one_line(error)}") from None
    if ":" not in network or not isinstance(given, dict):
        raise InputError(f"give MODULE:FACTORY, and --arguments as {{key: value}}; for example: {EXAMPLE}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            built = imported(network)(**given)
    except (Exception, SystemExit) as error:  # a module may do whatever it likes while it is imported
        raise InputError(f"{network} cannot be made: {one_line(error)}") from None
    if not isinstance(built, nn.Module):
        raise InputError(f"{network} makes a {type(built).__name__}, not a torch.nn.Module")
    return built


def of_this_package(path: Path) -> tuple[nn.Module, list[Any], list[str]]:
    """The network of a run directory, checkpoint or config, and a few test clips of its data."""
    import torch

    from snn_cace.config import Experiment
    from snn_cace.data.batches import ClipData
    from snn_cace.runtime import feature_dtype

    if path.suffix in (".yaml", ".yml"):
        from snn_cace.model import build_network

        experiment, network = read_config(path, Experiment), None
    else:
        from snn_cace.training.checkpoints import load_checkpoint

        trained = load_checkpoint(str(path))
        experiment, network = trained.experiment, trained.network
    data = ClipData(experiment.data, feature_dtype(experiment.training.precision))
    clips = data.dataset("test")
    batch = clips.__getitems__(range(min(8, len(clips))))
    notes = ([] if network else [UNTRAINED]) + ([PADDED] if "lengths" in batch else [])
    if network is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(experiment.training.seed)
            network = build_network(experiment, data.shape)
    return network.cpu(), [batch["visual"], batch["audio"]], notes


def tensors_of(text: str) -> list[torch.Tensor]:
    """What `--inputs` names: a random tensor of a shape, or the arrays of a file."""
    import torch

    if Path(text).is_file():
        try:
            loaded = np.load(text, allow_pickle=False)
            arrays = [loaded] if isinstance(loaded, np.ndarray) else [loaded[name] for name in loaded.files]
        except Exception as error:  # NumPy raises a dozen kinds for files that are damaged
            raise InputError(f"{text}: neither .npy nor .npz: {one_line(error)}") from None
        return [tensor_of(array, text) for array in arrays]
    if Path(text).suffix in (".npy", ".npz"):
        raise InputError(f"--inputs {text}: no file {text}")
    found = re.fullmatch(r"(\d+(?:x\d+)*)(?::(\d+))?", text)
    if found is None:
        raise InputError(f"--inputs {text}: give a shape such as 1x3x64x64, 2x16:1000 for whole numbers, or a file")
    shape, below = [int(size) for size in found[1].split("x")], found[2]
    if 0 in shape or below == "0" or np.prod(shape, dtype=float) > MOST_VALUES:
        raise InputError(f"--inputs {text}: sizes must be at least 1, and no more than {MOST_VALUES:.0e} values in all")
    return [torch.rand(*shape) if below is None else torch.randint(int(below), shape)]


def tensor_of(array: np.ndarray, file: str) -> torch.Tensor:
    """An array as an input, in float32, but for whole numbers of 32 bits or more, which may be rows of a table."""
    import torch

    if array.dtype.kind not in "biuf" or array.ndim == 0 or array.size == 0:
        raise InputError(f"{file}: {array.dtype} of shape {array.shape} is no input; store numbers, clips first")
    if not np.isfinite(array).all():
        raise InputError(f"{file} holds NaN or infinity")
    whole = array.dtype.kind == "i" and array.dtype.itemsize >= 4
    return torch.from_numpy(array.astype(np.int64 if whole else np.float32))


def print_audit(result: dict[str, Any], findings: list[str] | None) -> None:
    """The same in a few lines."""
    from snn_cace.counting.units import rate_percent
    from snn_cace.report.audit import audit_verdict, energy_table
    from snn_cace.report.conclusions import markdown_table

    rows = energy_table(result, "µJ per clip by", unit="")
    print("\n".join(markdown_table([row for row in rows if "once a" not in row["µJ per clip by"]])))
    if result["firing_rate"] is not None:
        print(f"firing rate {rate_percent(result['firing_rate'])} % over {result['simulation_steps']} simulation steps")
    print(audit_verdict(result))
    if silent := [name for name, layer in result["layers"].items() if layer["dead"] == 1]:
        print(f"note: no neuron of {', '.join(silent)} fired")
    for note in result["notes"]:
        print(f"note: {note}")
    for line in findings or ():
        print(f"does not hold: {line}")
    if findings == []:
        print("all that was claimed holds")
