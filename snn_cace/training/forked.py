"""Preparation of the fork server of `processes.workers`: done once, before it forks."""

from snn_cace.processes import end_by_kernel, look_at_old_objects_seldom


def prepare() -> None:
    """What takes long when it is done for the first time."""
    import torch

    from neurons import BlockConfig, SpikingLinear
    from snn_cace.config import Experiment, typed_parser

    typed_parser(Experiment)
    with torch.no_grad():
        SpikingLinear(1, 1, BlockConfig()).eval()(torch.zeros(1, 1, 1))  # Numba readies itself at its first kernel


end_by_kernel()
look_at_old_objects_seldom()
prepare()
