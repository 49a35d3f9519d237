"""What a GPU must do as a CPU does; skipped where there is none. `benchmarks/gpu.sh` runs it first."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from small import small_experiment, small_model, write_ave
from torch.nn.attention import SDPBackend, sdpa_kernel

from neurons import BlockConfig
from neurons.layer import make_layer
from snn_cace.contracts import FeatureShape
from snn_cace.data.batches import ClipData
from snn_cace.model import CaceNet
from snn_cace.training.run import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")
GPU = torch.device("cuda")


@pytest.mark.parametrize("surrogate", ["piecewise_quadratic", "quadratic_gate", "sigmoid", "atan", "rect"])
@pytest.mark.parametrize("constant", [True, False])
def test_fused_rates_on_cuda_are_the_cpu_s_and_gradients_to_rounding(surrogate: str, constant: bool):
    kinds = itertools.product(("if", "lif"), ("hard", "soft"), (True, False), ("forward", "bidirectional"))
    for node, reset, detach, direction in kinds:
        config = {"node": node, "threshold": 0.5, "reset": reset, "detach_reset": detach}
        config |= {"surrogate": surrogate, "alpha": 2}
        layer = make_layer(BlockConfig(**config, steps=5), direction, 300)
        current = torch.randn(1 if constant else 5, 3, 4, 300, generator=torch.Generator().manual_seed(0))
        found = []
        for device in ("cpu", "cuda"):
            given = current.to(device).requires_grad_()
            assert layer.to(device).why_eager(given) is None
            rate = layer.rate(given, num_steps=5 if constant else None)
            found.append((rate.cpu(), torch.autograd.grad(rate.square().sum(), given)[0].cpu()))
        (rate, gradient), (other, other_gradient) = found
        assert torch.equal(rate, other), config
        torch.testing.assert_close(gradient, other_gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", ["dense", "spiking"])
def test_the_network_gives_on_cuda_what_it_gives_on_the_cpu(block: str):
    model = small_model()
    model.slots.temporal_encoder = {"block": block}
    torch.manual_seed(0)
    network = CaceNet(model, FeatureShape(8, 6, 3)).double().eval()
    given = torch.rand(4, 10, 2, 3, 8, dtype=torch.float64), torch.rand(4, 10, 6, dtype=torch.float64)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        here = network(*given)
        there = network.to(GPU)(*(x.to(GPU) for x in given))
    for name in ("segment_relevance", "event_logits", "gate", "av_logits", "query"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("block", ["dense", "spiking", "braincog"])
@pytest.mark.parametrize("precision", ["32", "tf32", "bf16-mixed", "64"])
def test_every_precision_trains_on_cuda(tmp_path: Path, block: str, precision: str):
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=2, block=block)
    experiment.training.device, experiment.training.precision = "cuda", precision
    assert train(experiment, tmp_path / "run", quiet=True)["test"]["segment_accuracy"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["default", "reduce-overhead"])
def test_a_compiled_network_trains_on_cuda_to_the_same_losses(tmp_path: Path, how: str):
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=2, block="spiking")
    experiment.data.batch_size, experiment.training.device = 6, "cuda"
    model = experiment.model
    model.dropout = model.relation_dropout = model.interaction_dropout = model.contrast.noise = 0.0
    losses = []
    for compile_how in ("off", how):
        experiment.training.compile = compile_how
        losses.append(train(experiment, tmp_path / compile_how, quiet=True)["val"]["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_clips_are_kept_on_the_gpu_that_trains(tmp_path: Path):
    experiment = small_experiment(write_ave(tmp_path / "ave"))
    data = ClipData(experiment.data, torch.float32, device=GPU)
    assert data.place == "device"
    assert all(values.is_cuda for batch in data.loader("train") for values in batch.values())
