"""Kernels run unless someone asks for modules one by one, or a hook would be missed; the reason is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from numba import njit
from torch import nn

from neurons import LIF, PLIF, BlockConfig, SpikingLayer, SpikingLinear, eager, why_eager
from neurons.kernels.threads import compiled


@pytest.mark.parametrize(
    "register",
    [
        lambda module, hook: module.register_forward_hook(hook),
        lambda module, hook: module.register_forward_pre_hook(hook),
        lambda module, hook: module.register_full_backward_hook(hook),
        lambda module, hook: module.register_full_backward_pre_hook(hook),
    ],
)
def test_a_hook_of_any_kind_has_its_module_run_as_itself(register: Callable[..., Any]):
    module, other = nn.ReLU(), nn.ReLU()
    assert why_eager(module, other) is None
    handle = register(module, lambda *_: None)
    assert why_eager(module, other) == why_eager(other, module) == "ReLU has hooks"
    assert why_eager(other) is None
    handle.remove()
    assert why_eager(module) is None


def test_a_hook_for_all_modules_counts_for_each():
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert why_eager(nn.ReLU()) == why_eager() == "hooks are registered for all modules"
    handle.remove()


def test_asking_for_eager_holds_within_and_is_undone_by_an_error():
    with eager():
        assert why_eager() == "switched off by neurons.eager"
        with pytest.raises(ZeroDivisionError), eager():
            raise ZeroDivisionError
        assert why_eager() is not None
    assert why_eager() is None


def test_a_layer_says_why_it_runs_eagerly():
    current = torch.zeros(1, 2, 3, 4)
    layer = SpikingLayer(LIF())
    assert layer.why_eager(current) is None
    assert "Numba" in layer.implementation(torch.device("cpu"))
    assert SpikingLayer(PLIF()).why_eager(current) == "no kernels for plif with piecewise_quadratic"
    layer.fused = False
    assert layer.why_eager(current) == "the layer's `fused` is off"


def test_a_block_is_the_same_with_and_without_kernels():
    block, values = SpikingLinear(6, 8, BlockConfig(threshold=0.5, steps=4)).eval(), torch.randn(3, 5, 6)
    fused = block(values)
    with eager():
        assert torch.equal(block(values), fused)


def test_a_kernel_whose_code_can_be_kept_nowhere_is_compiled_all_the_same():
    found: dict[str, Any] = {}
    exec(compile("def twice(x):\n    return 2 * x", "<in no directory>", "exec"), found)
    with pytest.raises(RuntimeError, match="cannot cache function"):
        njit(cache=True)(found["twice"])
    assert compiled()(found["twice"])(21) == 42
