"""Linear layers that skip zeros equal dense ones, whatever their inputs; and where they are used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neurons import LIF, EventDriven, SpikingMLP
from neurons.kernels import event

SHAPES = [(1, 9), (7,), (5, 3, 7), (33, 130), (0, 4), (2, 1)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_skipping_zeros_equals_the_dense_product(shape: tuple[int, ...], share: float, dtype: torch.dtype):
    torch.manual_seed(0)
    values = torch.randn(shape, dtype=dtype) * (torch.rand(shape) < share)
    layer = nn.Linear(shape[-1], 6, dtype=dtype)
    with torch.no_grad():
        wanted = layer(values)
        with EventDriven(layer, always=True):
            torch.testing.assert_close(layer(values), wanted, rtol=1e-5, atol=1e-6)
        assert "forward" not in vars(layer)
        layer.bias = None
        with EventDriven(layer, always=True):
            torch.testing.assert_close(layer(values), F.linear(values, layer.weight), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_eight_bits_are_the_nearest_multiples_of_a_scale(dtype: torch.dtype):
    values, layer = torch.relu(torch.randn(6, 33, dtype=dtype)), nn.Linear(33, 5, dtype=dtype)
    layer.weight.data[2] = 0  # a scale of nothing
    scale = layer.weight.detach().abs().amax(1, keepdim=True) / 127
    rounded = torch.where(scale > 0, scale * (layer.weight / scale).round(), 0)
    with torch.no_grad(), EventDriven(layer, int8=True):
        torch.testing.assert_close(layer(values), F.linear(values, rounded, layer.bias), rtol=1e-5, atol=1e-6)


def test_layers_that_read_the_same_values_list_them_once(monkeypatch: pytest.MonkeyPatch):
    listed, values = list[torch.Tensor](), torch.relu(torch.randn(3, 6, 4))
    layers = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 3), nn.Linear(4, 4)])

    class Noted(event.Active):
        def __init__(self, values: torch.Tensor) -> None:
            listed.append(values)
            super().__init__(values)

    def right() -> bool:
        return all(torch.allclose(layer(values), F.linear(values, layer.weight, layer.bias)) for layer in layers)

    monkeypatch.setattr(event, "Active", Noted)
    with torch.no_grad(), EventDriven(layers, always=True):
        assert right() and len(listed) == 1
        values[0] = 0  # changed in place
        assert right() and len(listed) == 2
    with torch.inference_mode(), EventDriven(layers, always=True):
        values = values.clone()  # nobody counts its changes
        assert right() and len(listed) == 5


def test_strided_inputs_and_weights_are_taken_as_they_lie():
    values, layer = torch.relu(torch.randn(8, 5, 6)).transpose(0, 2), nn.Linear(8, 4)
    layer.weight = nn.Parameter(torch.randn(8, 12)[:, ::3].t())
    with torch.no_grad(), EventDriven(layer, always=True):
        torch.testing.assert_close(layer(values), F.linear(values, layer.weight, layer.bias))


def test_threads_share_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(event, "PRODUCTS_PER_THREAD", 1)
    values, layer = torch.relu(torch.randn(101, 40)), nn.Linear(40, 30)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with torch.no_grad(), EventDriven(layer, always=True):
            wanted = F.linear(values, layer.weight, layer.bias)
            torch.testing.assert_close(layer(values), wanted, rtol=1e-5, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_layers_with_gradients_and_other_types_run_as_they_are():
    layer, half = nn.Linear(3, 2), nn.Linear(3, 2, dtype=torch.bfloat16)
    with EventDriven(nn.ModuleList([layer, half]), always=True):
        layer(torch.ones(1, 3)).sum().backward()
        with torch.no_grad():
            assert half(torch.ones(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
            with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
                layer(torch.ones(1, 4))
    assert layer.weight.grad is not None


def test_weights_that_change_are_read_anew():
    layer, values = nn.Linear(3, 2), torch.tensor([[0.0, 1.0, 0.0]])
    with torch.no_grad(), EventDriven(layer, always=True):
        before = layer(values)
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(values) - layer.bias, 2 * (before - layer.bias))


def test_a_layer_skips_zeros_where_that_was_faster(monkeypatch: pytest.MonkeyPatch):
    """Where dense took twice as long at a share of a half it pays below a share of 0.8; where half, not at a half."""
    layer, ran = nn.Linear(4, 3), list[int]()
    halves, ones = torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.ones(1, 4)
    added = event.added

    def noted(*given: Any) -> torch.Tensor:
        ran.append(1)
        return added(*given)

    monkeypatch.setattr(event, "added", noted)
    for seconds, skipped in ([(2.0, 1.0), 2], [(1.0, 2.0), 0]):
        times, mode = iter(seconds), EventDriven(layer)
        monkeypatch.setattr(event, "fastest", lambda run, times=times: next(times))
        ran.clear()
        with torch.no_grad(), mode:
            outputs = layer(halves), layer(halves), layer(ones)
        assert len(ran) == skipped
        torch.testing.assert_close(outputs[1], F.linear(halves, layer.weight, layer.bias))


def test_a_spiking_network_says_the_same():
    torch.manual_seed(0)
    network = nn.Sequential(
        SpikingMLP(6, 32, 6, 0.0, LIF(threshold=0.1), steps=4, membrane="reset"), nn.Linear(6, 3)
    ).eval()
    values = torch.randn(2, 10, 6)
    with torch.no_grad():
        wanted = network(values)
        for mode in (EventDriven(network), EventDriven(network, always=True)):
            with mode:
                torch.testing.assert_close(network(values), wanted, rtol=1e-5, atol=1e-6)
