"""What PyTorch's own layers cost, each against a sum done by hand."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based.neuron import IFNode
from torch import nn

from snn_cace import counting
from snn_cace.counting.operations import count_operations, summed
from snn_cace.counting.rules import MODULE_RULES, Cost, UncountedOperationError
from snn_cace.errors import InputError

KINDS = ("macs", "acs", "comparisons", "transcendental")


def costs(network: nn.Module, *inputs: torch.Tensor) -> dict[str, float]:
    total = counting.audit(network, *inputs).count.total * len(inputs[0])
    return {kind: getattr(total, kind) for kind in KINDS if getattr(total, kind)}


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(1, *shape)


BAGS = torch.tensor([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("network", "values", "wanted"),
    [
        (nn.RNN(2, 3, nonlinearity="relu"), ones(4, 2), {"macs": 4 * 15, "comparisons": 12}),
        (nn.RNN(2, 3), ones(4, 2), {"macs": 4 * 15, "transcendental": 12}),
        # The largest of 5, five differences to it, a sum, five differences to its logarithm.
        (nn.LogSoftmax(1), ones(5), {"comparisons": 4, "acs": 14, "transcendental": 6}),
        # Of 16 values: 15 and 16 ACs for mean and variance; squares, scaling, and a gain with an offset.
        (nn.InstanceNorm2d(3), ones(3, 4, 4), {"macs": 3 * 48, "acs": 3 * 31, "transcendental": 3}),
        (nn.GroupNorm(1, 3), ones(3, 4, 4), {"macs": 3 * 48, "acs": 95, "transcendental": 1}),
        (nn.PReLU(), ones(5), {"macs": 5}),
        (nn.UpsamplingBilinear2d(scale_factor=2), ones(3, 4, 4), {"macs": 4 * 3 * 64}),
        (nn.Upsample(scale_factor=2, mode="trilinear"), ones(1, 2, 2, 2), {"macs": 8 * 64}),
        (nn.Upsample(scale_factor=2), ones(3, 4, 4), {}),
        (nn.PixelShuffle(2), ones(4, 3, 3), {}),
        (nn.ChannelShuffle(2), ones(4, 3, 3), {}),
        (nn.ReflectionPad2d(1), ones(4, 3, 3), {}),
        # 8 values in 3 windows: 0 to 2, 2 to 5 and 5 to 7.
        (nn.AdaptiveMaxPool1d(3), ones(2, 8), {"comparisons": 2 * (2 + 3 + 2)}),
        (nn.AdaptiveMaxPool2d(2), ones(2, 4, 8), {"comparisons": 2 * 4 * 7}),
        (nn.AdaptiveAvgPool3d(2), ones(2, 4, 4, 4), {"acs": 2 * 8 * 7, "macs": 2 * 8}),
        (nn.AvgPool3d(2), ones(2, 4, 4, 4), {"acs": 2 * 8 * 7, "macs": 2 * 8}),
        (nn.EmbeddingBag(9, 4), BAGS, {"acs": 2 * 2 * 4, "macs": 2 * 4}),
        (nn.EmbeddingBag(9, 4, mode="sum", padding_idx=6), BAGS, {"acs": (2 + 1) * 4}),
        (nn.EmbeddingBag(9, 4, mode="max"), BAGS, {"comparisons": 2 * 2 * 4}),
        # 2 x 2 patches of 3 x 3: the middle lies in four, the sides in two.
        (nn.Fold((3, 3), 2), ones(4, 4), {"acs": 3 + 4 * 1}),
        (nn.GLU(), ones(6), {"macs": 3, "transcendental": 3}),
        (nn.LogSigmoid(), ones(6), {"transcendental": 6}),
        (nn.Threshold(0.5, 0.0), ones(6), {"comparisons": 6}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers_by_hand(network: nn.Module, values: torch.Tensor, wanted: dict[str, float]):
    assert costs(network, values) == wanted


def test_rows_of_a_table_are_read_once_for_each_bag():
    total = counting.audit(nn.EmbeddingBag(9, 4), BAGS).count.total
    assert (total.weight_reads, total.value_writes) == (3 * 4, 4)


def test_statistics_taken_at_run_time_do_not_fold():
    """A 1 x 1 convolution of 4 to 4 channels, and 3 MACs a value of a norm over 64 places; running ones are free."""
    convolution, values = nn.Conv2d(4, 4, 1), torch.rand(1, 4, 8, 8)
    found = costs(nn.Sequential(convolution, nn.InstanceNorm2d(4, affine=True)), values)
    assert found == {"macs": 16 * 64 + 3 * 256, "acs": 2 * 256 - 4, "transcendental": 4}
    assert costs(nn.Sequential(convolution, nn.InstanceNorm2d(4, track_running_stats=True)), values) == {"macs": 1024}


def test_a_recurrent_layer_without_a_rule_says_how_to_give_it_one():
    network, values = nn.LSTM(2, 3, proj_size=1), torch.rand(1, 4, 2)
    wanted = r"the network: .* with a projection.*MODULE_RULES\[nn\.LSTM\] = my_rule"
    with pytest.raises(UncountedOperationError, match=wanted):
        counting.audit(network, values)
    MODULE_RULES[nn.LSTM] = lambda module, call: Cost.of(macs=7)
    try:
        assert costs(network, values) == {"macs": 7}
    finally:
        del MODULE_RULES[nn.LSTM]


class Adds(nn.Module):
    """A parameter or buffer behind, before or within what is computed."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.linear, self.bias = kind, nn.Linear(4, 4, bias=False), nn.Parameter(torch.ones(4))
        self.register_buffer("membrane", torch.zeros(1, 4))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.kind == "position":
            return self.linear(values + self.bias)
        product = self.linear(values)
        if self.kind == "bias":
            return self.norm(product + self.bias)
        if self.kind == "bias in place":
            return self.norm(product.add_(self.bias))
        if self.kind == "rectified":
            return product.relu_().add_(self.bias)
        if self.kind == "difference":
            return product.relu() - self.membrane
        self.membrane += product
        return self.membrane + product


@pytest.mark.parametrize(
    ("kind", "additions"),
    [("bias", 0), ("bias in place", 0), ("rectified", 4), ("difference", 4), ("position", 4), ("membrane", 8)],
)
def test_only_a_bias_of_a_product_is_free(kind: str, additions: int):
    found = counting.audit(Adds(kind), torch.ones(1, 4)).count.total
    assert (found.macs, found.acs) == (16, additions)


class Keeps(nn.Module):
    """A network that keeps what it has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.history = nn.Linear(4, 2), []

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.last = self.linear(values)
        self.history.append(self.last)
        return self.last


def test_a_network_that_keeps_its_graph_is_counted():
    network, values = Keeps(), torch.rand(1, 4)
    kept = network(values)
    assert costs(network, values) == {"macs": 8}
    assert network.last is kept and kept.requires_grad and len(network.history) == 1
    weighted = torch.nn.utils.weight_norm(nn.Linear(4, 2))
    weighted(values)
    with pytest.raises(UncountedOperationError, match=r"runs aten\._weight_norm_interface"):
        counting.audit(weighted, values)


def test_what_cannot_be_copied_or_looked_into_is_one_line():
    network = Keeps()
    network.history = {"deep": network(torch.rand(1, 4)) + 1}
    with pytest.raises(InputError, match=r"the network cannot be copied, .*: Only Tensors created explicitly"):
        counting.audit(network, torch.rand(1, 4))
    scripted = nn.Sequential(torch.jit.script(nn.Linear(4, 2)))
    with pytest.raises(InputError, match=r"0 is a ScriptModule: give the nn\.Module"):
        counting.audit(scripted, torch.rand(1, 4))


def test_a_count_is_what_an_audit_counts():
    """Norms behind a convolution fold, and sums of spikes that a pooling leaves are added, in either."""
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), IFNode(), nn.AvgPool2d(2), nn.Conv2d(4, 2, 2), nn.BatchNorm2d(2)
    ).eval()
    values = 3 * torch.rand(2, 1, 8, 8)
    counted, audited = count_operations(network, values).counted, counting.audit(network, values).count.counted
    for count, modules in audited.items():
        for module, other in zip(counted[count], modules, strict=True):
            assert all(getattr(module.total, kind) == getattr(other.total, kind) for kind in (*KINDS, "synops"))
    assert summed(audited["event_driven"]).macs < summed(audited["conservative"]).macs


class InPlace(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.clone().exp_().mul_(2).clamp_(0, 1).round_()


def test_an_operation_in_place_costs_what_it_costs_elsewhere():
    assert costs(InPlace(), ones(6)) == {"transcendental": 6, "macs": 6, "comparisons": 12}


class Kept(nn.Module):
    """A convolution of the mean over steps, whose axis is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.spikes, self.convolution = IFNode(step_mode="m"), nn.Conv2d(1, 2, 2)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.convolution(self.spikes(values).mean(0, keepdim=True))


def test_a_rate_with_its_axis_kept_is_a_rate():
    """All of 3 x 5 neurons fire at 4 steps; 2 x 4 places of 2 channels read 2 x 2 of them."""
    audited = counting.audit(Kept(), 2 * torch.ones(4, 1, 3, 5), batch_dim=1)
    found = next(m.total for m in audited.count.counted["event_driven"] if m.name == "convolution")
    assert (found.synops, found.macs) == (4 * 2 * 4 * 2 * 2 * 2, 0)
