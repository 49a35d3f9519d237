"""Recording against brute force: what is summed over batches equals what one pass over all spikes says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neurons import (
    IF,
    ILIF,
    LIF,
    PSN,
    BlockConfig,
    Node,
    RateMonitor,
    SpikeRecorder,
    SpikingCrossAttention,
    SpikingLayer,
    SpikingLinear,
    trace_layers,
)
from snn_cace.model.braincog import BrainCogEncoder

NODE = LIF(threshold=0.4)
GROUPS = 3


class Network(nn.Module):
    """A block of every kind that lays out time differently."""

    def __init__(self, node: Node = NODE) -> None:
        super().__init__()
        self.carried = SpikingLinear(4, 6, BlockConfig(**vars(node), steps=4, membrane="carry"))
        self.both = SpikingLinear(6, 6, BlockConfig(**vars(node), steps=4, membrane="carry"), "bidirectional")
        self.reset = SpikingLinear(6, 6, BlockConfig(**vars(node), steps=4, membrane="reset", coding="learned"))
        self.recurrent = SpikingLinear(6, 8, BlockConfig(**vars(node), steps=4, membrane="carry"), "recurrent")
        self.original = BrainCogEncoder(8, 8, node)
        self.attention = SpikingCrossAttention(8, 2, BlockConfig(**vars(node), steps=2))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        values = self.original(self.recurrent(self.reset(self.both(self.carried(values)))))
        return self.attention(values, torch.cat([values, values], dim=1))


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network().eval()


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (2 * torch.randn(clips, 5, 4, generator=generator), torch.randint(GROUPS, (clips, 5), generator=generator))
        for clips in (3, 1, 4)
    ]


def all_spikes(network: Network) -> dict[str, torch.Tensor]:
    """Every layer's spikes over all batches, `[S, clips, T, N]`."""
    seen: dict[str, list[torch.Tensor]] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: seen.setdefault(name, []).append(out))
        for name, module in network.named_modules()
        if isinstance(module, SpikingLayer)
    ]
    with torch.no_grad():
        for values, _ in batches():
            network(values)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts, dim=1).flatten(3).double() for name, parts in seen.items()}


def test_every_sum_equals_a_brute_force_recomputation(network: Network):
    with SpikeRecorder(network, GROUPS) as recorder, torch.no_grad():
        for values, labels in batches():
            recorder.label(labels)
            network(values)
    labels = torch.cat([labels for _, labels in batches()])
    for name, spikes in all_spikes(network).items():
        record = recorder.layers[name]
        steps, clips, segments, neurons = spikes.shape
        repeated = labels.repeat(1, segments // 5)
        assert record.firing_rate == pytest.approx(float(spikes.mean()), abs=1e-12), name
        torch.testing.assert_close(record.step_rates, spikes.mean((1, 2, 3)))
        torch.testing.assert_close(record.neuron_rates, spikes.mean((0, 1, 2)))
        by_segment = spikes.unflatten(2, (-1, 5)).mean((0, 1, 2, 4))
        torch.testing.assert_close(record.segment_rates, by_segment)
        for group in range(GROUPS):
            expected = spikes[:, repeated == group].mean()
            torch.testing.assert_close(record.group_rates[group], expected)
        counts = spikes.sum(0).flatten()
        assert record.counts.tolist() == [int((counts == number).sum()) for number in range(steps + 1)]
        first = [int(((spikes[:step].sum(0) == 0) & (spikes[step] > 0)).sum()) for step in range(steps)] + [
            int((spikes.sum(0) == 0).sum())
        ]
        assert record.first_spikes.tolist() == first
        assert record.activation_sparsity == pytest.approx(float((spikes == 0).double().mean()))
        assert (record.segments, record.neurons) == (clips * segments, neurons)
    assert set(recorder.layers) == {n for n, m in network.named_modules() if isinstance(m, SpikingLayer)}


def test_a_layer_that_does_not_run_through_segments_has_no_groups():
    layer = SpikingLayer(NODE)
    current = torch.randn(4, 2, 1, 6)
    with SpikeRecorder(layer, GROUPS) as recorder:
        recorder.label(torch.zeros(2, 5, dtype=torch.long))
        spikes = layer(current)
    record = recorder.layers[""]
    assert record.firing_rate == pytest.approx(float(spikes.mean()))
    assert record.segment_rates.tolist() == pytest.approx([float(spikes.mean())])
    assert record.group_rates.isnan().all()


def test_integer_neurons_count_every_spike():
    torch.manual_seed(0)
    layer = SpikingLayer(ILIF(threshold=0.2, levels=3))
    current = torch.randn(4, 2, 5, 6).abs()
    with SpikeRecorder(layer) as recorder:
        spikes = layer(current)
    record = recorder.layers[""]
    assert spikes.max() > 1
    assert record.firing_rate == pytest.approx(float(spikes.mean()))
    assert record.activation_sparsity == pytest.approx(float((spikes == 0).float().mean()))
    assert len(record.counts) == 4 * 3 + 1


def test_recording_changes_no_output_and_leaves_no_hook(network: Network):
    values = batches()[0][0]
    before = network(values)
    with SpikeRecorder(network) as recorder, RateMonitor(network):
        assert torch.equal(network(values), before)
    assert not any(module._forward_hooks for module in network.modules())
    recorded = recorder.layers["carried.projection.layer"].segments
    network(values)
    assert recorder.layers["carried.projection.layer"].segments == recorded


def test_what_is_kept_does_not_grow_with_the_data(network: Network):
    def kept(recorder: SpikeRecorder) -> list[torch.Tensor]:
        return [x for record in recorder.layers.values() for x in vars(record).values() if torch.is_tensor(x)]

    sizes = []
    for count in (1, 3):
        with SpikeRecorder(network, GROUPS) as recorder:
            for values, labels in batches()[:count]:
                recorder.label(labels)
                network(values)
        sizes.append(sum(x.numel() for x in kept(recorder)))
        assert not any(x.requires_grad for x in kept(recorder))
    assert sizes[0] == sizes[1]


def test_the_meter_is_the_rate_over_all_layers(network: Network):
    with RateMonitor(network) as meter, torch.no_grad():
        for values, _ in batches():
            network(values)
    spikes = torch.cat([values.flatten() for values in all_spikes(network).values()])
    assert meter.firing_rate == pytest.approx(float(spikes.mean()))


def test_traced_membranes_by_hand():
    """IF, threshold 1, constant currents 0.6 and -0.5, two segments of two steps.

    Carried: 0.6, 1.2 fires and resets, 0.6, 1.2 again. Reset at each segment: the same here; the second goes on falling
    only where it is carried.
    """
    current = torch.tensor([0.6, -0.5]).expand(2, 1, 2, 2)
    for membrane, second in (("carry", [[-0.5, -1.5], [-1.0, -2.0]]), ("reset", [[-0.5, -0.5], [-1.0, -1.0]])):
        layer = SpikingLayer(IF(threshold=1), 2, membrane)
        traced = trace_layers(layer, current)[""]
        assert traced.membrane[:, 0, :, 0].tolist() == [pytest.approx([0.6, 0.6]), [0.0, 0.0]]
        assert traced.membrane[:, 0, :, 1].tolist() == second
        assert traced.spikes[:, 0, :, 0].tolist() == [[0.0, 0.0], [1.0, 1.0]]


def test_a_trace_spikes_where_the_membrane_was_reset_whatever_the_direction(network: Network):
    for name, traced in trace_layers(network, batches()[0][0]).items():
        assert traced.membrane is not None, name
        assert traced.membrane.shape == traced.spikes.shape
        assert torch.all(traced.membrane[traced.spikes > 0] == 0), name
        assert torch.all(traced.membrane[traced.spikes == 0] < 0.4 + 1e-6), name


def test_a_node_without_a_membrane_has_no_trace():
    layer = SpikingLayer(PSN(), 4)
    assert trace_layers(layer, torch.randn(4, 1, 2, 3))[""].membrane is None
