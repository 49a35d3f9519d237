"""The fused path against the plain one: rates exactly, gradients to rounding; CPU, and Triton in its interpreter."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from neurons import LIF, NODES, BlockConfig, SpikeRecorder, SpikingLinear, SpikingMLP
from neurons.kernels.threads import in_every_thread
from neurons.layer import SpikingLayer, make_layer, run_layers
from snn_cace.model.braincog import BrainCogEncoder

STEPS, CLIPS, SEGMENTS = 5, 3, 4


def layers() -> Iterator[SpikingLayer]:
    nodes = itertools.product(
        ("if", "lif"),
        ("hard", "soft"),
        ("piecewise_quadratic", "quadratic_gate", "sigmoid", "atan", "rect"),
        (True, False),
    )
    for node, reset, surrogate, detach in nodes:
        tau = 2.0 if detach else 3.0
        config = {"node": node, "tau": tau, "threshold": 0.5, "reset": reset, "detach_reset": detach}
        config |= {"surrogate": surrogate, "alpha": 2, "steps": STEPS}
        for membrane, direction in (("carry", "forward"), ("reset", "forward"), ("carry", "bidirectional")):
            yield make_layer(BlockConfig(**config, membrane=membrane), direction, 7)


def both(layer: SpikingLayer, constant: bool, dtype: torch.dtype, neurons: int) -> list[tuple[torch.Tensor, ...]]:
    """Rates and gradients, fused and plain."""
    generator = torch.Generator().manual_seed(0)
    shape = (1 if constant else STEPS, CLIPS, SEGMENTS, neurons)
    current = torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()
    weight = torch.randn(shape[1:], dtype=dtype, generator=generator)
    found = []
    for layer.fused in (True, False):
        assert (layer.why_eager(current) is None) == layer.fused
        rate = layer.rate(current, num_steps=STEPS if constant else None)
        found.append((rate.detach(), *torch.autograd.grad((rate * weight).sum(), current)))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [True, False])
def test_rates_are_equal_and_gradients_to_rounding(dtype: torch.dtype, constant: bool):
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-11}
    for layer in layers():
        (rate, gradient), (plain_rate, plain_gradient) = both(layer, constant, dtype, neurons=7)
        assert torch.equal(rate, plain_rate), layer.config
        torch.testing.assert_close(gradient, plain_gradient, **tolerance)
        assert gradient.abs().sum() > 0


def test_blocks_of_neurons_and_threads_share_the_work_alike():
    """More neurons than a block holds, more rows than threads, and enough work for two of them."""
    layer = make_layer(BlockConfig(steps=20), "bidirectional", 1100)
    current = torch.randn(1, 6, 10, 1100, requires_grad=True)
    found = []
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    in_every_thread(lambda: torch.set_flush_denormal(False))  # tests before this one may have left it on in some
    for number in (1, 2):
        torch.set_num_threads(number)
        rate = layer.rate(current, num_steps=20)
        found.append((rate, *torch.autograd.grad(rate.square().sum(), current)))
    torch.set_num_threads(threads)
    for alone, shared in zip(*found, strict=True):
        assert torch.equal(alone, shared)
    layer.fused = False
    plain = layer.rate(current, num_steps=20)
    assert torch.equal(found[0][0], plain)
    (gradient,) = torch.autograd.grad(plain.square().sum(), current)
    torch.testing.assert_close(found[0][1], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("membrane", ["carry", "reset"])
def test_whole_blocks_give_the_same_fused_plain_and_between_compiled_graphs(membrane: str):
    torch.manual_seed(0)
    block = BlockConfig(threshold=0.5, steps=4, membrane=membrane)
    learned = BlockConfig(threshold=0.5, learn_threshold=True, steps=4, membrane=membrane)
    networks = [
        SpikingLinear(6, 8, block, "bidirectional"),
        SpikingLinear(6, 8, learned),
        SpikingMLP(6, 8, 6, 0.0, block),
        BrainCogEncoder(6, 8, LIF(threshold=0.5, surrogate="quadratic_gate"), dropout=0.0),
    ]
    values = torch.randn(3, 5, 6)
    for network in networks:
        layer = next(module for module in network.modules() if isinstance(module, SpikingLayer))
        found = []
        graph = torch.compile(network, backend="aot_eager")
        for run, layer.fused in ((network, False), (network, True), (graph, True)):
            network.zero_grad()
            out = run(values)
            out.square().sum().backward()
            found.append((out, *(parameter.grad.clone() for parameter in network.parameters())))
        plain, *others = found
        for other in others:
            assert torch.equal(plain[0], other[0])
            torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5)


def test_half_precision_currents_give_rates_in_their_own_type():
    layer = SpikingLayer(LIF(threshold=0.5), membrane="carry")
    current = torch.randn(1, 2, 3, 8, dtype=torch.bfloat16)
    fused = layer.rate(current, num_steps=4)
    layer.fused = False
    assert fused.dtype == torch.bfloat16
    assert torch.equal(fused, layer.rate(current, num_steps=4))
    assert torch.equal(fused, layer.rate(current.expand(4, -1, -1, -1)))


def test_who_listens_sees_spikes_and_the_same_rates():
    network = SpikingLinear(6, 8, BlockConfig(threshold=0.5, steps=4)).eval()
    values = torch.randn(3, 5, 6)
    alone = network(values)
    with SpikeRecorder(network) as recorder:
        assert torch.equal(network(values), alone)
    record = recorder.layers["projection.layer"]
    assert record.firing_rate == pytest.approx(float(alone.detach().mean()))


@pytest.mark.parametrize("node", ["plif", "alif", "gated_lif", "ilif", "psn"])
def test_nodes_without_a_kernel_go_the_plain_way(node: str):
    layer = SpikingLayer(NODES[node](), 4)
    current = torch.randn(4, 2, 3, 5)
    assert node in layer.why_eager(current)
    assert torch.equal(layer.rate(current), layer(current).mean(0))


def test_a_slope_on_a_schedule_is_read_when_it_is_used():
    layer = SpikingLayer(LIF(threshold=0.5, surrogate="atan", alpha=2), membrane="carry")
    current = torch.randn(1, 2, 3, 5, requires_grad=True)
    gradients = []
    for layer.node.surrogate_function.alpha in (2.0, 5.0):
        gradients.append(torch.autograd.grad(layer.rate(current, num_steps=4).sum(), current)[0])
    layer.fused = False
    (plain,) = torch.autograd.grad(layer.rate(current, num_steps=4).sum(), current)
    assert not torch.allclose(*gradients)
    torch.testing.assert_close(gradients[1], plain)


class Largest(TorchDispatchMode):
    """The largest tensor that any operation outputs."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.numbers = max(self.numbers, out.untyped_storage().nbytes() // out.itemsize)
        return out


def test_no_tensor_grows_with_the_steps_on_either_way():
    values = torch.randn(8, 10, 64, requires_grad=True)
    found = {}
    for fused, steps in itertools.product((True, False), (4, 64)):
        network = SpikingLinear(64, 64, BlockConfig(threshold=0.5, steps=steps))
        run_layers(network, fused)
        with Largest() as largest:
            network(values).sum().backward()
        found[fused, steps] = largest.numbers
    assert found[True, 4] == found[True, 64] == values.numel()
    assert found[False, 64] == 64 * values.numel()


INTERPRETED = """
import json, torch
from test_lif import both, layers
import neurons.kernels.lif as lif
from neurons.kernels import lif_cuda
lif.kernels = lambda device: lif_cuda
worst, equal, number = 0.0, True, 0
for index, layer in enumerate(list(layers())[::7]):
    constant = index % 2 == 0
    (rate, gradient), (plain_rate, plain_gradient) = both(layer, constant, torch.float32, 7)
    equal &= torch.equal(rate, plain_rate)
    worst = max(worst, float((gradient - plain_gradient).abs().max() / plain_gradient.abs().max()))
    number += 1
print(json.dumps({"equal": equal, "worst": worst, "layers": number}))
"""


@pytest.mark.slow
def test_triton_s_kernels_agree_in_its_interpreter():
    """In a process of its own: Triton decides on import whether it interprets."""
    pytest.importorskip("triton")
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.getcwd()]),  # noqa: PTH109, PTH120
    }
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["layers"] == 18
    assert found["equal"]
    assert found["worst"] < 1e-4


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    ("steps", "input_steps", "direction"), [(4, 1, "forward"), (15, 1, "bidirectional"), (3, 3, "forward")]
)
def test_triton_s_kernels_compile_for_a_gpu_that_is_not_here(
    capability: int, steps: int, input_steps: int, direction: str
):
    """To machine code, and with few steps they read four numbers at a time."""
    pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from neurons.kernels import lif_cuda

    layer = make_layer(BlockConfig(threshold=1.0, steps=steps), direction, 512)
    dynamics = layer.dynamics(steps, 512)
    _, _, same = lif_cuda.launch(torch.empty(input_steps, 2, 3, 512), dynamics)
    for kernel, own in ((lif_cuda.rates, {"keep": False}), (lif_cuda.gradients, {"detach": True, "kind": 0})):
        settings = same | own
        kinds = {"tau": "fp32", "threshold": "fp32", "alpha": "fp32", "neurons": "i32", "backward_start": "i32"}
        names = [parameter.name for parameter in kernel.params]
        signature = {name: "constexpr" if name in settings else kinds.get(name, "*fp32") for name in names}
        aligned = {
            (i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if signature[name] in ("*fp32", "i32")
        }
        built = compile(ASTSource(kernel, signature, settings, aligned), target=GPUTarget("cuda", capability, 32))
        assert built.asm["cubin"]
        assert steps > 4 or "ld.global.v4" in built.asm["ptx"]
