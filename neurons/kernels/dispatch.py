"""The one switch between kernels and modules that run as themselves (eager), and why it stands as it does.

A kernel does the work of several modules at once: then none of them is called, and none of their hooks. So kernels run
unless somebody has asked for `eager()`, as whoever counts operations does, or a module they would replace has hooks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import nn
from torch.nn.modules.module import _has_any_global_hook

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
SWITCH = {"kernels": True}
INTERPRETED = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0") or find_spec("numba") is None
"""Whether Numba is told to compile nothing, or is not installed: then modules run as themselves on a CPU."""


@contextmanager
def eager() -> Iterator[None]:
    """Within it every module runs as itself.

    >>> with eager():
    ...     print(why_eager())
    switched off by neurons.eager
    """
    before, SWITCH["kernels"] = SWITCH["kernels"], False
    try:
        yield
    finally:
        SWITCH["kernels"] = before


def why_eager(*modules: nn.Module) -> str | None:
    """Why `modules` run as themselves; None where a kernel may do their work.

    >>> why_eager(nn.ReLU()) is None
    True
    """
    if not SWITCH["kernels"]:
        return "switched off by neurons.eager"
    if _has_any_global_hook():
        return "hooks are registered for all modules"
    hooked = next((module for module in modules if any(getattr(module, hooks) for hooks in HOOKS)), None)
    return None if hooked is None else f"{type(hooked).__name__} has hooks"


def on_cpu(values: torch.Tensor) -> bool:
    """Whether kernels for the CPU take these values; a graph that is being compiled cannot hold them."""
    known = values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64)
    return known and not INTERPRETED and not torch.compiler.is_compiling()
