"""Sums over the processes that train one network together (DDP); without several, every function is the identity.

A loss made of sums over processes is the same number in each of them. Its backward pass adds up what each process asks
of a value, and DDP then averages the gradients of weights over processes: together the gradient of the one loss.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F


def process_count() -> int:
    """How many processes train together, 1 where nothing is distributed."""
    available = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if available else 1


def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The sum of every process's `values` `[...]`, differentiable."""
    if process_count() == 1:
        return values
    # In place on a copy: the gradient of the input is that of the output, summed in turn.
    return all_reduce(values.clone())


def count_over_processes(count: int, device: torch.device) -> int:
    """The sum of every process's `count`; `device` is where its tensors are."""
    return int(sum_over_processes(torch.tensor(count, device=device))) if process_count() > 1 else count


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean of all entries of every process's `values` `[...]`, a scalar, differentiable."""
    if process_count() == 1:
        return values.mean()
    total = values.sum()
    return sum_over_processes(total) / count_over_processes(values.numel(), values.device)


def batch_norm(
    values: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    momentum: float,
    eps: float,
) -> torch.Tensor:
    """`F.batch_norm` in training, of rows `[R, N]`, with statistics over the rows of all processes.

    PyTorch's SyncBatchNorm, which has no CPU implementation. Moves `running_mean` and `running_var` (unbiased).
    A single row of all has no variance: the running statistics normalise it, and stay.
    """
    if process_count() == 1:
        return F.batch_norm(values, running_mean, running_var, weight, bias, len(values) > 1, momentum, eps)
    rows = values if values.dtype == torch.float64 else values.float()
    sums = sum_over_processes(torch.cat([rows.sum(0), rows.new_tensor([len(rows)])]))
    count = sums[-1]
    mean = torch.where(count > 1, sums[:-1] / count, running_mean.to(sums))
    squares = sum_over_processes((rows - mean).square().sum(0))
    variance = torch.where(count > 1, squares / count, running_var.to(sums))
    with torch.no_grad():
        moved = momentum * (count > 1).to(running_mean)
        running_mean.lerp_(mean.to(running_mean), moved)
        running_var.lerp_((variance * count / (count - 1).clamp(min=1)).to(running_var), moved)
    return ((rows - mean) * (variance + eps).rsqrt() * weight + bias).to(values.dtype)
