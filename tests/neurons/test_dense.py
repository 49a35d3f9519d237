"""A linear layer is itself however it is multiplied."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from neurons import Linear, dense, linear


@pytest.fixture
def convolving(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch has no oneDNN here")
    monkeypatch.setattr(dense, "WORK", 1)
    monkeypatch.setattr(dense, "mkl_is_slow", lambda: True)


@pytest.mark.parametrize("shape", [(1, 5), (7, 5), (2, 3, 4, 5), (0, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_gives_what_a_matrix_product_gives_and_its_gradients(
    convolving: None, shape: tuple[int, ...], bias: bool
):
    torch.manual_seed(0)
    values = torch.randn(shape, requires_grad=True)
    given = (values, torch.randn(6, 5, requires_grad=True), torch.randn(6, requires_grad=True) if bias else None)
    push, found = torch.randn(*shape[:-1], 6), []
    for run in (linear, F.linear):
        out = run(*given)
        assert out.is_contiguous()
        found.append((out, *torch.autograd.grad(out, [x for x in given if x is not None], push)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_part_of_a_larger_tensor_and_views_are_multiplied_too(convolving: None):
    values, weight = torch.randn(4, 9, 20)[:, ::2, 3:8], torch.randn(6, 10)[:, :5]
    torch.testing.assert_close(linear(values, weight), F.linear(values, weight), rtol=1e-5, atol=1e-5)


def test_what_a_convolution_is_not_for_is_multiplied_as_ever(convolving: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(F, "conv2d", lambda *_: pytest.fail("a convolution ran"))
    layer, values = Linear(5, 6), torch.randn(7, 5)
    layer.double()(values.double())
    with torch.autocast("cpu", torch.bfloat16):
        layer.float()(values)
    hook = layer.register_forward_hook(lambda *_: None)
    layer(values)
    hook.remove()
    monkeypatch.setattr(dense, "WORK", 1 << 25)
    layer(values)
