"""The verb `sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from snn_cace.commands import Overrides
from snn_cace.config import PositiveInt, Seed, read_config
from snn_cace.processes import start_fork_server


def sweep(
    config: str,
    overrides: Overrides,
    output: str | None = None,
    jobs: PositiveInt | None = None,
    seeds: list[Seed] | None = None,
    launcher: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> None:
    """Vary an experiment row by row over seeds: an ablation, as one tidy table.

    Finished runs are not run again. Dotted overrides (--training.epochs 3), --data, --precision and --device apply to
    every row.

    Args:
        config: YAML file of bases, and of rows or what to vary.
        output: directory for runs, table and report; runs/NAME where it is left out.
        jobs: runs at a time; one per core where it is left out, one on a GPU.
        seeds: in place of the config's.
        launcher: where runs run; local is processes of this machine.
        address: of a Ray cluster, whose nodes share the output directory; without it one starts on this machine.
    """
    start_fork_server()
    from snn_cace.comparison.run import Launch
    from snn_cace.comparison.sweep import Sweep, run_sweep

    given = {} if seeds is None else {"seeds": seeds}
    read = read_config(config, Sweep, given)
    launch = Launch(launcher, jobs, address)
    run_sweep(read, Path(config), Path(output or f"runs/{read.name}"), launch, overrides)
