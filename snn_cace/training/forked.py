"""Preparation of the fork server of `processes.workers`: done once, before it forks."""

from snn_cace.processes import end_by_kernel


def prepare() -> None:
    """What takes long when it is done for the first time."""
    import torch

    from snn_cace.config import Experiment, typed_parser
    from snn_cace.kernels.dropout import Draw, dropped

    typed_parser(Experiment)
    dropped(torch.zeros(1), Draw(0.5))  # Numba readies itself when it first runs a kernel


end_by_kernel()
prepare()
