"""The verbs `compare` and `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from snn_cace.commands import Overrides, writing
from snn_cace.config import NonNegativeInt, PositiveInt, Seed, from_dict, merged, nested, with_base
from snn_cace.errors import InputError
from snn_cace.processes import start_fork_server
from snn_cace.shipped import find_config, other_kind


def compare(
    config: str,
    overrides: Overrides,
    output: str | None = None,
    jobs: PositiveInt | None = None,
    seeds: list[Seed] | None = None,
    tune: NonNegativeInt | None = None,
    launcher: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> None:
    """Train variants over seeds and compare them.

    Finished runs are not run again. Dotted overrides (--training.epochs 3), --data, --precision and --device apply to
    every variant.

    Args:
        config: YAML file that names the variants and seeds, or the name of a shipped one.
        output: directory for the runs and the report; runs/NAME where it is left out.
        jobs: runs at a time; one per core where it is left out, one on a GPU.
        seeds: in place of the config's.
        tune: trials by which each variant's settings are searched on the validation split first, in place of the
            config's; every variant gets as many, as long, at the same points of the ranges that they share.
        launcher: where runs run; local is processes of this machine.
        address: of a Ray cluster, whose nodes share the output directory; without it one starts on this machine.
    """
    start_fork_server()
    from snn_cace.comparison.plan import Comparison
    from snn_cace.comparison.run import Launch, run_comparison

    given = {"seeds": seeds, "tuning.trials": tune}
    file = find_config(config, study=True)
    content = with_base(file, Comparison)
    if "experiments" not in content and content.keys() & {"data", "model", "training"}:
        raise InputError(other_kind(config, study=True))
    changes = nested({key: value for key, value in given.items() if value is not None}, Comparison, config)
    comparison = from_dict(merged(content, changes), Comparison, config)
    launch = Launch(launcher, jobs, address)
    run_comparison(comparison, file, output or f"runs/{comparison.name}", launch, overrides)


def report(comparison: str, output: str) -> None:
    """The report of a comparison, from its JSON alone.

    Args:
        comparison: a comparison.json.
        output: directory to write into; never one that has a report.
    """
    from snn_cace.report.comparison import write_report

    with writing(output, "report.html") as path:
        print(write_report(Path(comparison), path.parent))
        print(f"report: {path}")
