"""Zero skipping and reuse of weights against loops over every product, in dense, control and spiking networks."""

from __future__ import annotations

import pytest
import torch
from small import small_model
from torch import nn
from torch.nn import Linear

from neurons import BlockConfig, Rounding, SpikingLinear, SpikingMLP
from snn_cace.contracts import FeatureShape
from snn_cace.counting.energy import energies_mj, read_prices
from snn_cace.counting.models import MODELS
from snn_cace.counting.operations import COUNTS, Count, ModuleCount, count_operations, summed
from snn_cace.counting.rules import WORD_BITS, Operations
from snn_cace.model import CaceNet
from snn_cace.model.temporal import BiLSTM

CLIPS, SEGMENTS, PATCHES, INPUTS, OUTPUTS = 2, 3, 4, 5, 7


def sparse(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3)).relu()


def skipped(count: Count, name: str = "") -> Operations:
    module = next(m for m in count.counted["zero_skipping"] if m.name == name)
    return module.total * CLIPS


def loop(values: torch.Tensor) -> dict[str, float]:
    """Products and reads of a linear layer of `[B, T, P, C]`, one by one."""
    found = {"macs": 0, "use": 0, "segment": 0, "clip": 0}
    for clip in values:
        read_in_clip = set()
        for segment in clip:
            read_in_segment = set()
            for patch in segment:
                for channel, value in enumerate(patch.tolist()):
                    if value != 0:
                        found["macs"] += OUTPUTS
                        found["use"] += OUTPUTS
                        read_in_segment.add(channel)
            found["segment"] += OUTPUTS * len(read_in_segment)
            read_in_clip |= read_in_segment
        found["clip"] += OUTPUTS * len(read_in_clip)
    return found


def test_a_linear_layer_skips_zeros_and_reads_columns_as_a_loop_does():
    values = sparse(CLIPS, SEGMENTS, PATCHES, INPUTS)
    values[0, :, :, 0] = 0
    values[1, 1, :, 2] = 0
    found, wanted = skipped(count_operations(nn.Linear(INPUTS, OUTPUTS), values)), loop(values)
    rows = CLIPS * SEGMENTS * PATCHES
    assert found.macs == wanted["macs"] < rows * INPUTS * OUTPUTS
    assert found.weight_reads == pytest.approx(wanted["use"] + rows * OUTPUTS)
    assert found.weight_reads_per_segment == pytest.approx(wanted["segment"] + CLIPS * SEGMENTS * OUTPUTS)
    assert found.weight_reads_per_clip == pytest.approx(wanted["clip"] + CLIPS * OUTPUTS)
    assert found.zero_flags == pytest.approx(values.numel() / WORD_BITS)
    assert found.value_reads == int(values.count_nonzero())


def test_a_dense_layer_reads_its_weights_once_a_use_a_segment_or_a_clip():
    count = count_operations(nn.Linear(INPUTS, OUTPUTS), sparse(CLIPS, SEGMENTS, PATCHES, INPUTS))
    found, weights = count.total, (INPUTS + 1) * OUTPUTS
    assert found.weight_reads == SEGMENTS * PATCHES * weights
    assert found.weight_reads_per_segment == SEGMENTS * weights
    assert found.weight_reads_per_clip == weights


@pytest.mark.parametrize("steps", [1, 3])
def test_spikes_read_a_column_once_where_any_patch_or_step_of_a_segment_fires(steps: int):
    torch.manual_seed(0)
    block = BlockConfig(steps=steps, threshold=0.3, membrane="reset", norm="none")
    network = nn.Sequential(SpikingLinear(3, INPUTS, block), Linear(INPUTS, OUTPUTS)).eval()
    seen: list[torch.Tensor] = []
    network[0].projection.layer.register_forward_hook(lambda module, args, out: seen.append(out))
    values = torch.randn(CLIPS, SEGMENTS, PATCHES, 3)
    network(values)
    fired = seen[0].detach().sum(0)
    count = count_operations(network, values)
    reader = next(m for m in count.counted["event_driven"] if m.name == "1").total * CLIPS
    wanted = loop(fired)
    biases = CLIPS * OUTPUTS
    assert reader.weight_reads == pytest.approx(float(fired.sum()) * OUTPUTS + SEGMENTS * PATCHES * biases)
    assert reader.weight_reads_per_segment == pytest.approx(wanted["segment"] + SEGMENTS * biases)
    assert reader.weight_reads_per_clip == pytest.approx(wanted["clip"] + biases)


def test_products_of_two_activations_need_both():
    class Product(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left @ right.transpose(-1, -2)

    left, right = sparse(CLIPS, 4, 6), sparse(CLIPS, 5, 6).flip(1)
    found = skipped(count_operations(Product(), left, right))
    wanted = sum(
        1
        for clip in range(CLIPS)
        for i in range(4)
        for j in range(5)
        for k in range(6)
        if left[clip, i, k] != 0 and right[clip, j, k] != 0
    )
    assert found.macs == wanted


def test_an_lstm_skips_zero_inputs_and_the_state_that_it_starts_from():
    values, hidden = sparse(CLIPS, SEGMENTS, INPUTS), 4
    count = count_operations(BiLSTM(INPUTS, 2 * hidden), values)
    whole, found = count.total * CLIPS, skipped(count, "lstm")
    zeros = values.numel() - int(values.count_nonzero())
    gates = 2 * 4 * hidden
    assert found.macs == pytest.approx(whole.macs - gates * zeros - gates * hidden * CLIPS)
    assert found.weight_reads == pytest.approx(whole.weight_reads - gates * zeros - gates * hidden * CLIPS)
    assert found.weight_reads_per_segment == pytest.approx(whole.weight_reads_per_segment - gates * zeros)


def test_a_quantised_control_multiplies_few_bits_and_skips_its_zeros():
    torch.manual_seed(0)
    network = SpikingMLP(3, INPUTS, OUTPUTS, 0.0, BlockConfig(steps=4, membrane="reset", norm="none"), "quantised")
    values = torch.randn(CLIPS, SEGMENTS, 3)
    network(values)
    network.eval()
    count = count_operations(network, values)
    hidden = network.hidden(values)
    active = int(hidden.count_nonzero())
    assert 0 < active < hidden.numel()
    for name, kept in (("conservative", hidden.numel()), ("zero_skipping", active)):
        output = next(module for module in count.counted[name] if module.name == "output")
        assert (output.bits, output.total.narrow_macs * CLIPS) == (3, pytest.approx(kept * OUTPUTS))
        assert output.total.weight_reads_per_segment == output.total.weight_reads  # one row a segment
        assert output.total.macs == 0
        layer, rounding = (
            next(module.total for module in count.counted[name] if module.name == f"hidden.{part}")
            for part in ("layer", "layer.rounding")
        )
        assert (layer.macs, layer.acs, rounding.macs * CLIPS) == (0, 0, hidden.numel())  # a division a value, no more
    assert not count.readers


def test_rounded_values_are_few_bits_behind_a_gate_and_a_factor_too():
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rounding, self.linear, self.gate = (
                Rounding(2, INPUTS),
                Linear(INPUTS, OUTPUTS),
                Linear(INPUTS, INPUTS),
            )

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.linear(0.5 * self.rounding(values) * torch.sigmoid(self.gate(values.mean(-2, keepdim=True))))

    network = Gated().eval()
    count = count_operations(network, sparse(CLIPS, SEGMENTS, PATCHES, INPUTS))
    linear = next(module for module in count.modules if module.name == "linear")
    assert linear.bits == 2
    rows, gates = SEGMENTS * PATCHES, SEGMENTS
    assert linear.total.narrow_macs == rows * INPUTS * OUTPUTS
    assert linear.total.macs == gates * INPUTS * OUTPUTS  # its columns, once for all patches of a segment


def network_of(block: str) -> CaceNet:
    config = small_model()
    for slot in ("visual_projection", "temporal_encoder", "feed_forward", "event_head"):
        setattr(config.slots, slot, {"block": block})
    torch.manual_seed(0)
    network = CaceNet(config, FeatureShape(visual_channels=5, audio_channels=6, classes=3))
    network(*features())
    return network.eval()


def features() -> tuple[torch.Tensor, torch.Tensor]:
    return sparse(CLIPS, 10, 2, 3, 5), torch.randn(CLIPS, 10, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("block", ["dense", "dense-quantised", "rectified", "leaky", "quantised", "spiking"])
def test_skipping_zeros_costs_no_products_and_reuse_no_reads_more_in_any_network(block: str):
    count = count_operations(network_of(block), *features())
    totals = {name: summed(modules) for name, modules in count.counted.items()}
    assert list(totals) == list(COUNTS)
    products = {name: total.macs + total.narrow_macs + total.acs for name, total in totals.items()}
    assert products["zero_skipping"] < min(products["event_driven"], products["conservative"])
    for total in totals.values():
        assert total.weight_reads > total.weight_reads_per_segment > total.weight_reads_per_clip > 0
    assert (totals["event_driven"] == totals["conservative"]) == (block != "spiking")
    for modules in count.counted.values():
        assert all(isinstance(module, ModuleCount) for module in modules)
        energies = energies_mj(modules, read_prices())
        assert energies["memory"] > energies["memory/segment"] > energies["memory/clip"] > energies["compute"]
        assert set(MODELS) < set(energies)
