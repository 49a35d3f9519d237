"""A training step by the kernels of `snn_cace/kernels` and by PyTorch's own operations: processor time, one thread.

    benchmarks/kernels.py CONFIG [DIRECTORY]

Both take turns on one batch of eight clips of a shipped config, or of a directory in AVE's layout. Processor time,
unlike wall time, hardly depends on what else runs.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from unittest.mock import patch

import torch

from snn_cace.benchmark import step_of
from snn_cace.config import Experiment, read_config
from snn_cace.kernels import dropout, linear, residual
from snn_cace.processes import flush_denormals
from snn_cace.shipped import find_config

CLIPS, TURNS = 8, 15


def by_pytorch() -> AbstractContextManager[object]:
    """Within it no kernel of `snn_cace/kernels` runs; those of `neurons` do."""
    plain = ExitStack()
    for module in (dropout, linear, residual):
        plain.enter_context(patch.object(module, "why_eager", lambda *modules: "timed without"))
    return plain


def main(config: str, directory: str | None = None) -> None:
    torch.set_num_threads(1)
    flush_denormals()
    changes = {} if directory is None else {"data.directory": directory}
    step = step_of(read_config(find_config(config, study=False), Experiment, changes), CLIPS, torch.device("cpu"))
    seconds: dict[str, list[float]] = {"kernels": [], "PyTorch": []}
    for turn in range(TURNS + 1):
        for name, ways in (("kernels", ExitStack), ("PyTorch", by_pytorch)):
            with ways():
                started = time.process_time()
                step()
            if turn:  # the first compiles
                seconds[name].append(time.process_time() - started)
    for name, found in seconds.items():
        first, median, third = (1e3 * x for x in statistics.quantiles(found, n=4))
        print(f"{config} by {name}: {median:.1f} ({first:.1f} to {third:.1f}) ms")


if __name__ == "__main__":
    main(*sys.argv[1:])
