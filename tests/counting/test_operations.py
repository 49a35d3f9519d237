"""Operation counts against sums done by hand, and against SpikingJelly and NeuroBench where they cover a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import small_model
from spikingjelly.activation_based.op_counter import (
    DispatchCounterMode,
    MACCounter,
    ModuleCounterMode,
    NeuromorphicMemoryAccessCounter,
    SynOpCounter,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from neurons import (
    ALIF,
    IF,
    ILIF,
    LIF,
    PLIF,
    PSN,
    BlockConfig,
    GatedLIF,
    MaskedPSN,
    Node,
    Readout,
    SlidingPSN,
    SpikeLinear,
    SpikingCrossAttention,
    SpikingLayer,
    SpikingLinear,
    SpikingMLP,
)
from neurons.layer import RecurrentLayer
from snn_cace.contracts import FeatureShape
from snn_cace.counting.operations import Count, UncountedOperationError, count_operations, summed
from snn_cace.counting.rules import Operations
from snn_cace.model import CaceNet
from snn_cace.model.attention import SpatialAttention, UnscaledAttention
from snn_cace.model.braincog import BrainCogEncoder
from snn_cace.model.relation import DenseAttention, FeedForward
from snn_cace.model.temporal import BiLSTM

CLIPS, SEGMENTS, WIDTH, AUDIO, VISUAL = 3, 10, 8, 6, 8
"""small_model: d_model 8, visual_dim 8; encoder and decoder feed-forward 16."""
SLOTS = ("visual_projection", "temporal_encoder", "feed_forward", "interaction", "event_head")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def build(**slots: dict[str, Any]) -> CaceNet:
    config = small_model()
    for name, slot in slots.items():
        setattr(config.slots, name, slot)
    torch.manual_seed(0)
    return CaceNet(config, FeatureShape(visual_channels=5, audio_channels=AUDIO, classes=3))


def clips() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(CLIPS, SEGMENTS, 2, 3, 5, generator=generator),
        torch.randn(CLIPS, SEGMENTS, AUDIO, generator=generator),
    )


def total(module: nn.Module, *inputs: torch.Tensor) -> Operations:
    """Operations of the whole batch."""
    return count_operations(module, *inputs).total * len(inputs[0])


def costs(operations: Operations) -> dict[str, float]:
    names = ("macs", "acs", "synops", "comparisons", "transcendental")
    return {name: value for name in names if (value := round(getattr(operations, name), 6))}


def spikes_of(layer: SpikingLayer, run: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    seen = []
    hook = layer.register_forward_hook(lambda module, args, out: seen.append(out))
    run.eval()(*inputs)
    hook.remove()
    return seen[0].detach()


def test_a_linear_layer_by_hand():
    """4 rows, 5 to 7: 4 x 5 x 7 MACs; each reads a weight, and each output its bias."""
    found = total(nn.Linear(5, 7), torch.randn(4, 5))
    assert costs(found) == {"macs": 140}
    assert (found.weight_reads, found.value_reads, found.value_writes) == (140 + 28, 20, 28)


def test_an_lstm_by_hand():
    """2 clips x 3 segments x 2 directions, 5 to h = 4.

    Per step: four gates of 4 x (5 + 4) MACs; f c + i g (8 MACs) and o tanh(c) (4 MACs); 5 x 4 sigmoids and tanhs. Kept:
    h and c of both directions, read and written once per step.
    """
    count = count_operations(BiLSTM(5, 8), torch.randn(2, 3, 5))
    steps = 3 * 2
    assert costs(count.total) == {"macs": steps * (4 * 4 * (5 + 4) + 8 + 4), "transcendental": steps * 5 * 4}
    lstm = next(module for module in count.modules if module.kind == "LSTM")
    assert lstm.state == 2 * 2 * 4
    assert (lstm.static.state_reads, lstm.static.state_writes) == (steps * 8, steps * 8)
    assert lstm.parameters == 2 * (4 * 4 * (5 + 4) + 2 * 4 * 4)


def softmax(rows: int, size: int) -> dict[str, float]:
    n = rows * size
    return {"macs": n, "acs": 2 * n - rows, "comparisons": n - rows, "transcendental": n + rows}


def test_unscaled_attention_by_hand():
    """6 queries of 5 over a memory of 4 of 3, keys of 2, values of 7; products 6 x 4 x 2 and 6 x 4 x 7, one softmax."""
    found = costs(total(UnscaledAttention(5, 3, 2, 7), torch.randn(1, 6, 5), torch.randn(1, 4, 3)))
    expected = softmax(rows=6, size=4)
    expected["macs"] += 6 * 5 * 2 + 4 * 3 * 2 + 4 * 3 * 7 + 6 * 4 * 2 + 6 * 4 * 7
    assert found == expected


def test_multi_head_attention_by_hand():
    """Width 8, 2 heads, 5 queries over 3: three projections in, one out, products per head, q and k scaled."""
    found = costs(total(DenseAttention(8, 2, 0.1), torch.randn(1, 5, 8), torch.randn(1, 3, 8)))
    expected = softmax(rows=2 * 5, size=3)
    expected["macs"] += 8 * 8 * (5 + 3 + 3 + 5) + 2 * (5 * 3 * 4) * 2 + 5 * 8 + 3 * 8
    assert found == expected


def test_spatial_attention_by_hand():
    """6 patches of 5, guide of 3, hidden 4: two layers with relu, their product, score and tanh, a softmax, a sum."""
    found = costs(total(SpatialAttention(5, 3, 4), torch.randn(1, 1, 6, 5), torch.randn(1, 1, 3)))
    expected = softmax(rows=1, size=6)
    expected["macs"] += 6 * 5 * 4 + 3 * 4 + 6 * 4 + 6 * 4 + 6 * 5
    expected["comparisons"] += 6 * 4 + 4
    expected["transcendental"] += 6
    assert found == expected


class Logit(nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.logit(values, eps=1e-6)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.LayerNorm(5), {"macs": 3 * 20, "acs": 2 * 20 - 4, "transcendental": 4}),
        (nn.BatchNorm1d(5), {"macs": 20}),
        (nn.Softmax(-1), softmax(rows=4, size=5)),
        (nn.ReLU(), {"comparisons": 20}),
        (nn.Sigmoid(), {"transcendental": 20}),
        (Logit(), {"acs": 20, "transcendental": 40, "comparisons": 40}),
        (nn.Tanh(), {"transcendental": 20}),
        (nn.Dropout(), {}),
        (FeedForward(5, 6, 0.1), {"macs": 2 * 4 * 5 * 6, "comparisons": 4 * 6}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_norms_activations_and_feed_forward_by_hand(module: nn.Module, expected: dict[str, float]):
    assert costs(total(module, torch.randn(4, 5))) == expected


@pytest.mark.parametrize(
    ("node", "macs", "acs", "comparisons", "per_spike", "states"),
    [
        (IF(), 0, 1, 1, 0, 1),
        (LIF(), 1, 1, 1, 0, 1),
        (LIF(reset="soft"), 1, 1, 1, 1, 1),
        (PLIF(), 1, 1, 1, 0, 1),
        (LIF(learn_threshold=True), 1, 1, 1, 0, 1),
        (ALIF(), 3, 2, 1, 0, 2),
        (GatedLIF(), 2, 1, 1, 2, 1),
        (ILIF(), 2, 0, 2, 1, 1),
        (PSN(), 4, 0, 1, 0, 4),
        (MaskedPSN(order=3), 3, 0, 1, 0, 3),
        (SlidingPSN(order=2), 2, 0, 1, 0, 2),
    ],
    ids=lambda value: value.name if isinstance(value, Node) else "",
)
def test_every_node_by_hand(node: Node, macs: int, acs: int, comparisons: int, per_spike: int, states: int):
    """4 steps of 2 clips of 6 neurons: 48 updates at the node's own cost; states read and written once each."""
    layer = SpikingLayer(node, 4)
    current = 2 * torch.randn(4, 2, 6)
    spikes = float(layer.eval()(current).detach().sum())
    assert spikes > 0
    found = count_operations(layer, current)
    assert costs(found.total * 4) == {
        name: value
        for name, value in (
            ("macs", 48 * macs),
            ("acs", 48 * acs + per_spike * spikes),
            ("comparisons", 48 * comparisons),
        )
        if value
    }
    assert found.total.neuron_updates * 4 == 48
    assert (found.total.state_reads * 4, found.total.state_writes * 4) == (48 * states, 48 * states)
    assert found.modules[0].firing_rate == pytest.approx(spikes / 48)


SOURCE = LIF(threshold=0.3)


class Chain(nn.Module):
    """Spikes, and what takes them."""

    def __init__(self, *after: nn.Module) -> None:
        super().__init__()
        self.layer = SpikingLayer(SOURCE)
        self.after = nn.Sequential(*after)

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        return self.after(self.layer(current))


@pytest.mark.parametrize("name", ["rate", "membrane"])
def test_every_readout_by_hand(name: str):
    """4 steps, 2 x 6 neurons."""
    current = torch.randn(4, 2, 6)
    network = Chain(Readout(name, 4, 2.0))
    spikes = spikes_of(network.layer, network, current)
    readout = next(m for m in count_operations(network, current).modules if m.kind == "Readout")
    expected = {"rate": {"acs": float(spikes.sum()), "macs": 12}, "membrane": {"acs": float(spikes.sum()), "macs": 48}}[
        name
    ]
    assert costs(readout.total * 4) == expected


@pytest.mark.parametrize("name", ["rate", "membrane"])
def test_every_spike_that_a_readout_uses_adds_a_column_of_weights(name: str):
    """4 steps, 2 x 6 neurons, 7 outputs; what is scaled is scaled in the 14 outputs."""
    current = torch.randn(4, 2, 6)
    network = Chain(SpikeLinear(6, 7, Readout(name, 4, 2.0)))
    spikes = spikes_of(network.layer, network, current)
    linear = next(m for m in count_operations(network, current).modules if m.kind == "SpikeLinear")
    synops = 7 * float(spikes.sum())
    expected = {"acs": synops, "synops": synops}
    if name == "rate":
        expected["macs"] = 14
    else:
        expected["macs"] = 4 * 14
    assert costs(linear.total * 4) == expected
    assert linear.total.weight_reads * 4 == pytest.approx(synops + 14)


def test_spikes_that_are_copied_or_viewed_stay_spikes_and_reach_a_linear_layer_as_acs():
    class Moves(nn.Module):
        def forward(self, spikes: torch.Tensor) -> torch.Tensor:
            return torch.cat([spikes.flip(0).transpose(0, 1), spikes.transpose(0, 1).clone()], dim=1).contiguous()

    current = torch.randn(4, 2, 6)
    network = Chain(Moves(), nn.Linear(6, 5))
    spikes = float(spikes_of(network.layer, network, current).sum())
    linear = next(m for m in count_operations(network, current).modules if m.kind == "Linear")
    assert costs(linear.total * 4) == {"acs": 2 * spikes * 5, "synops": 2 * spikes * 5}


def test_zeros_and_ones_that_are_no_spikes_cost_macs():
    """SpikingJelly's counters take any tensor of zeros and ones for spikes, so that a black picture would be free."""
    linear = nn.Linear(5, 7)
    for values in (torch.zeros(4, 5), torch.ones(4, 5)):
        assert costs(total(linear, values)) == {"macs": 140}
    counter = MACCounter()
    with torch.no_grad(), DispatchCounterMode([counter]):
        linear(torch.zeros(4, 5))
    assert counter.get_total() == 0


@pytest.mark.parametrize("coding", ["constant", "poisson", "latency", "learned"])
def test_every_coding_by_hand(coding: str):
    """2 x 3 segments of 4 values, 4 steps, 6 neurons, no norm; the linear layer sees the current once, or spikes."""
    block = BlockConfig(**vars(SOURCE), steps=4, membrane="reset", coding=coding, readout="rate", norm="none")
    network = SpikingLinear(4, 6, block)
    values = torch.randn(2, 3, 4)
    seen: dict[str, torch.Tensor] = {}
    network.projection.linear.register_forward_hook(lambda module, args, out: seen.update(given=args[0]))
    modules = {m.name: m for m in count_operations(network, values).modules}
    linear = costs(modules["projection.linear"].total * 2)
    if coding == "constant":
        assert linear == {"macs": 6 * 4 * 6}
        return
    fed = float(seen["given"].sum())
    assert linear == {"acs": pytest.approx(6 * fed), "synops": pytest.approx(6 * fed)}
    encoder = summed(m for name, m in modules.items() if name.startswith("projection.coding"))
    assert (
        costs(encoder * 2)
        == {
            "poisson": {"transcendental": 24, "comparisons": 2 * 4 * 24},
            "latency": {"transcendental": 24, "acs": 24, "macs": 24, "comparisons": 24},
            "learned": {"macs": 6 * 4 * 4 + 96, "acs": 96, "comparisons": 96},
        }[coding]
    )


def test_spiking_attention_by_hand():
    """Width 8, 2 heads, 5 queries over 3 entries, 2 steps: products of spikes count coincidences, then spikes of v."""
    block = BlockConfig(**vars(SOURCE), steps=2, membrane="reset", coding="constant", readout="rate", norm="none")
    network = SpikingCrossAttention(8, 2, block)
    query, memory = torch.randn(1, 5, 8), torch.randn(1, 3, 8)
    q, k, v = (
        spikes_of(part.layer, network, query, memory).unflatten(-1, (2, 4)).transpose(2, 3)
        for part in (network.query, network.key, network.value)
    )
    own = next(m for m in count_operations(network, query, memory).modules if m.name == "")
    coincidences = float((q @ k.transpose(-1, -2)).sum())
    reached = float(v.sum()) * 5
    assert coincidences > 0
    assert costs(own.total) == {"acs": coincidences + reached, "synops": coincidences + reached, "macs": 2 * 2 * 5 * 4}


def test_the_original_encoder_by_hand():
    """2 clips x 3 segments, 4 to 6, 15 steps: the linear layer, with the norm in it, runs once per segment."""
    network = BrainCogEncoder(4, 6, SOURCE)
    values = torch.randn(2, 3, 4)
    spikes = float(spikes_of(network.layer, network, values).sum())
    cells, updates = 2 * 3 * 6, 2 * 3 * 6 * 15
    assert costs(total(network, values)) == {
        "macs": cells * 4 + updates + cells,
        "acs": updates + spikes,
        "comparisons": updates,
    }


def test_recurrent_feedback_costs_a_column_for_every_spike_but_those_of_the_last_step():
    block = BlockConfig(**vars(SOURCE), steps=4, membrane="carry", coding="constant", readout="rate", norm="none")
    network = SpikingLinear(4, 6, block, "recurrent")
    values = torch.randn(2, 3, 4)
    spikes = spikes_of(network.projection.layer, network, values)
    fed = float(spikes.sum() - spikes[-1, :, -1].sum())
    found = total(network, values)
    assert found.synops == pytest.approx(6 * fed)


@pytest.mark.parametrize(
    ("module", "inputs", "weights"),
    [
        (nn.Linear(4, 6), torch.zeros(2, 4), 4 * 6 + 6),
        (DenseAttention(8, 2, 0.0), torch.zeros(2, 3, 8), 4 * 8 * 8 + 4 * 8),
        (BiLSTM(4, 6), torch.zeros(2, 3, 4), 2 * (4 * 3 * (4 + 3) + 8 * 3)),
        (RecurrentLayer(LIF(), 2, "carry", 5), torch.zeros(2, 1, 3, 5), 25),
    ],
)
def test_a_module_s_weights_are_all_that_it_reads_its_children_s_too(
    module: nn.Module, inputs: torch.Tensor, weights: int
):
    args = (inputs, inputs) if isinstance(module, DenseAttention) else (inputs,)
    (reading,) = [m for m in count_operations(module.eval(), *args).modules if m.total.weight_reads or m.weights]
    assert reading.weights == weights


def test_a_network_is_the_sum_of_its_modules_and_every_leaf_is_accounted_for():
    spiking = {"block": "spiking", "steps": 4, "threshold": 0.2}
    for network in (build(), build(**dict.fromkeys(SLOTS, spiking)), build(temporal_encoder={"block": "braincog"})):
        count = count_operations(network, *clips())
        parts = [count_operations_of(count, name) for name in top_level(network)]
        whole = sum(parts, summed(m for m in count.modules if m.name == ""))
        assert vars(whole) == pytest.approx(vars(count.total))
        assert sum(m.parameters for m in count.modules) == sum(p.numel() for p in network.parameters())
        leaves = {name for name, module in network.named_modules() if not any(module.children())}
        assert leaves <= {m.name for m in count.modules}
        assert all("dropout" in name for name in count.idle)


def top_level(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_children()]


def count_operations_of(count: Count, *names: str) -> Operations:
    """What the modules called `names`, and all below them, cost."""
    return summed(m for m in count.modules if any(f"{m.name}.".startswith(f"{name}.") for name in names))


def test_an_operation_that_no_rule_knows_stops_the_count_and_names_the_module():
    network = nn.Sequential(nn.Linear(3, 3), nn.Mish())
    with pytest.raises(UncountedOperationError, match=r"1 \(Mish\) runs aten\.mish\.default"):
        count_operations(network, torch.randn(2, 3))
    assert not network[1]._forward_hooks


def test_doubling_the_simulation_steps_doubles_updates_and_states_and_no_current():
    def counted(steps: int) -> dict[str, Operations]:
        slot = {"block": "spiking", "steps": steps, "threshold": 0.2}
        count = count_operations(build(temporal_encoder=slot, feed_forward=slot), *clips())
        return {
            kind: summed(m for m in count.modules if m.kind == kind)
            for kind in ("SpikingLayer", "Linear", "ChannelBatchNorm", "LayerNorm", "DenseAttention")
        }

    four, eight = counted(4), counted(8)
    for name in ("neuron_updates", "macs", "acs", "comparisons", "state_reads", "state_writes"):
        assert getattr(eight["SpikingLayer"], name) == 2 * getattr(four["SpikingLayer"], name) > 0
    for kind in ("Linear", "ChannelBatchNorm", "LayerNorm", "DenseAttention"):
        assert eight[kind] == four[kind]


def test_the_count_does_not_depend_on_how_many_clips_it_is_taken_over_where_nothing_spikes():
    network = build()
    visual, audio = clips()
    three, one = (count_operations(network, visual[:n], audio[:n]).total for n in (3, 1))
    assert vars(three) == pytest.approx(vars(one))


def test_a_second_count_finds_the_same_and_the_network_is_left_as_it_was():
    network = build(feed_forward={"block": "spiking"}).train()
    visual, audio = clips()
    first = count_operations(network, visual, audio)
    assert network.training
    assert vars(count_operations(network, visual, audio).total) == vars(first.total)
    network.eval()
    before = network(visual, audio).event_logits
    count_operations(network, visual, audio)
    assert torch.equal(network(visual, audio).event_logits, before)
    assert torch.backends.mha.get_fastpath_enabled()
    assert not any(module._forward_hooks for module in network.modules())


def test_dense_and_spiking_products_agree_with_spikingjelly():
    """Linear layers on values and on spikes: MACCounter and SynOpCounter count the same."""
    current = torch.randn(4, 2, 6)
    network = nn.Sequential(nn.Linear(6, 6), Chain(nn.Linear(6, 5))).eval()
    macs, synops = (c(extra_ignore_modules=[SpikingLayer]) for c in (MACCounter, SynOpCounter))
    with torch.no_grad(), DispatchCounterMode([macs, synops]):
        network(current)
    linear = [m for m in count_operations(network, current).modules if m.kind == "Linear"]
    assert summed(linear).macs * 4 == macs.get_total()
    assert summed(linear).synops * 4 == synops.get_total()


def test_weight_and_state_traffic_agrees_with_spikingjelly():
    current = torch.randn(4, 2, 6)
    network = nn.Sequential(nn.Linear(6, 6), Chain(nn.Linear(6, 5))).eval()
    counter = NeuromorphicMemoryAccessCounter()
    with torch.no_grad(), ModuleCounterMode([counter], model=network):
        network[1].layer.node.v = torch.zeros(2, 6)
        network(current)
    theirs = counter.get_counts()["Global"]
    ours = count_operations(network, current).total * 4
    assert 4 * ours.weight_reads == theirs["weight_read_bytes"] + theirs["bias_read_bytes"]
    assert 4 * ours.state_reads == theirs["neuron_state_read_bytes"]
    assert 4 * ours.state_writes == theirs["neuron_state_write_bytes"]


def test_synaptic_operations_and_sparsity_agree_with_neurobench():
    """Dense MACs, ACs per spike and activation sparsity, on a layer of spikes between two linear layers.

    NeuroBench's effective MACs leave out products with a zero; ours are its dense count.
    """
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    class Spikes(nn.Module):
        """One simulation step, so that a batch stays `[B, N]`."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = SpikingLayer(SOURCE)

        def forward(self, current: torch.Tensor) -> torch.Tensor:
            return self.layer(current[None])[0]

    network = nn.Sequential(nn.Linear(6, 9), Spikes(), nn.Linear(9, 5)).eval()
    values = torch.randn(8, 6)
    model = TorchModel(network)
    model.add_activation_module(Spikes)
    loader = DataLoader(TensorDataset(values, torch.zeros(8, dtype=torch.long)), batch_size=8)
    benchmark = Benchmark(model, loader, [], [], [[], [ActivationSparsity, SynapticOperations]])
    with torch.no_grad():
        theirs = benchmark.run(quiet=True)
    count = count_operations(network, values)
    linear = summed(m for m in count.modules if m.kind == "Linear")
    assert linear.macs == theirs["SynapticOperations"]["Effective_MACs"]
    assert linear.synops == pytest.approx(theirs["SynapticOperations"]["Effective_ACs"])
    assert count.activation_sparsity == pytest.approx(theirs["ActivationSparsity"])


def test_a_slot_s_blocks_cost_what_they_cost_alone():
    """The spiking feed-forward blocks: 6 of them over 10 segments, 8 to 16 to 8, 4 steps, norm in the weights."""
    slot = {"block": "spiking", "steps": 4, "threshold": 0.2, "membrane": "reset"}
    network = build(feed_forward=slot)
    layers = [m for m in network.modules() if isinstance(m, SpikingMLP)]
    spikes: list[float] = []
    for layer in layers:
        layer.hidden.layer.register_forward_hook(lambda module, args, out: spikes.append(float(out.sum())))
    count = count_operations(network, *clips())
    found = count_operations_of(count, *network.slots()["feed_forward"])
    cells, hidden = 6 * SEGMENTS * WIDTH, 6 * SEGMENTS * 16
    assert found.synops == pytest.approx(sum(spikes) * WIDTH / CLIPS)
    assert found.macs == pytest.approx(hidden * WIDTH + 4 * hidden + cells)
    assert found.acs == pytest.approx(found.synops + 4 * hidden)
    assert found.neuron_updates == 4 * hidden


def test_counting_elsewhere_than_on_the_cpu_is_refused():
    with pytest.raises(ValueError, match="on the CPU, not on meta"):
        count_operations(nn.Linear(2, 2), torch.randn(1, 2, device="meta"))
