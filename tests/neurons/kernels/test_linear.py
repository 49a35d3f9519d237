"""A linear layer is itself whichever library multiplies, and a machine chooses its library once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from neurons import Linear, keep_choices, linear
from neurons.kernels import linear as dense


@pytest.fixture
def convolving(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch has no oneDNN here")
    monkeypatch.setattr(dense, "MEASURED_MACS", 1)
    monkeypatch.setattr(dense, "convolution_is_faster", lambda *_: True)


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
    monkeypatch.setattr(dense, "MEASURED_MACS", 1 << 25)
    layer(values)


@pytest.fixture
def choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dense.ShapeClass]]:
    """Choices kept in a file of their own; what is measured meanwhile, a convolution being faster for odd inputs."""
    asked: list[dense.ShapeClass] = []

    def measured(shape: dense.ShapeClass) -> bool:
        asked.append(shape)
        return bool(shape.inputs % 2)

    monkeypatch.setattr(dense, "MEASURED_MACS", 1)
    monkeypatch.setattr(dense, "measured", measured)
    before = dense.KEPT.get("file")
    keep_choices(tmp_path / "cache" / "choices.json")
    yield asked
    dense.KEPT.pop("file")
    dense.convolution_is_faster.cache_clear()
    if before is not None:
        keep_choices(before)


def test_a_shape_is_measured_once_for_all_processes_of_a_machine(
    choices: list[dense.ShapeClass], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """9 and 15 rows are one class, 16 another; the backward pass is part of what is chosen for."""
    weight = torch.randn(3, 5)
    for rows in (9, 15, 16):
        linear(torch.randn(rows, 5), weight)
    linear(torch.randn(9, 5), weight.requires_grad_())
    with torch.no_grad():
        linear(torch.randn(9, 5), weight)
    shapes = [dense.ShapeClass(8, 5, 3, False), dense.ShapeClass(16, 5, 3, False), dense.ShapeClass(8, 5, 3, True)]
    assert choices == shapes
    file = tmp_path / "cache" / "choices.json"
    keep_choices(file)  # as a later process does
    assert dense.convolution_is_faster(shapes[0], torch.get_num_threads())
    assert choices == shapes
    assert not dense.convolution_is_faster(dense.ShapeClass(8, 6, 3, False), torch.get_num_threads())
    assert len(json.loads(file.read_text())) == 4
    monkeypatch.setattr(dense, "machine", lambda: "another processor")
    dense.convolution_is_faster.cache_clear()
    dense.convolution_is_faster(shapes[0], torch.get_num_threads())
    assert choices[-1] == shapes[0] and len(choices) == 5


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 3}', "\x00"])
def test_a_damaged_file_of_choices_is_measured_and_written_anew(
    choices: list[dense.ShapeClass], tmp_path: Path, content: str
):
    file = tmp_path / "cache" / "choices.json"
    file.parent.mkdir()
    file.write_text(content)
    assert dense.convolution_is_faster(dense.ShapeClass(8, 5, 3, False), 1)
    assert list(json.loads(file.read_text()).values()) == [True]


def test_a_directory_that_cannot_be_written_measures_all_the_same(choices: list[dense.ShapeClass], tmp_path: Path):
    (tmp_path / "file").write_text("")
    keep_choices(tmp_path / "file" / "choices.json")
    assert dense.convolution_is_faster(dense.ShapeClass(8, 5, 3, False), 1)
    assert len(choices) == 1


def test_measuring_leaves_random_numbers_gradients_and_counts_as_they_are():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        assert dense.measured(dense.ShapeClass(4, 3, 2, True)) in (True, False)
    assert counter.get_total_flops() == 0
    assert torch.equal(before, torch.get_rng_state())
