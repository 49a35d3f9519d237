"""Which of the processes that train one network this one is, and what started them."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.utilities import rank_zero_only

from snn_cace.errors import InputError

LIGHTNING: Any = rank_zero_only
"""Its `rank` is this process's, for all of Lightning."""


def join(devices: int, nodes: int = 1) -> ClusterEnvironment:
    """What started the processes that train together, for Lightning's trainer; `is_first` then knows this one.

    Who trains on one device is alone, whatever the environment says: RANK, SLURM_PROCID, SLURM_NTASKS and others are
    those of a job step or an allocation that may have other work, and Lightning would go by them.

    Raises:
        InputError: torchrun, SLURM or another launcher has started other processes than are asked for.
    """
    started = os.environ.get("WORLD_SIZE", "1")
    if TorchElasticEnvironment.detect() and started != str(devices * nodes):
        raise InputError(f"torchrun started {started} processes, training.devices times nodes is {devices * nodes}")
    if devices * nodes == 1:
        LIGHTNING.rank = 0
        return LightningEnvironment()
    # In the order in which Lightning asks them.
    launchers = (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment)
    kind = next((launcher for launcher in launchers if launcher.detect()), LightningEnvironment)
    try:
        environment = kind()
        # Lightning's own knows its rank only once there is a trainer.
        own = isinstance(environment, LightningEnvironment)
        LIGHTNING.rank = (
            environment.node_rank() * devices + environment.local_rank() if own else environment.global_rank()
        )
    except (RuntimeError, KeyError, ValueError) as error:
        name = kind.__name__.removesuffix("Environment")
        raise InputError(
            f"{devices} devices on {nodes} nodes need one process each, {name} has others: {error}; "
            "start as many, or train on one device"
        ) from None
    return environment


def is_first() -> bool:
    """Whether this process writes what all have trained."""
    return LIGHTNING.rank == 0
