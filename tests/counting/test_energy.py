"""Energies against sums done by hand, and against SpikingJelly's profilers on what they cover."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based.op_counter import LemaireEnergyProfiler, SimpleEnergyProfiler
from torch import nn

from neurons import IF, SpikingLayer
from snn_cace.counting.energy import Energy, break_even_rate, energies_mj, energy, read_prices, sources, with_reuse
from snn_cace.counting.models import MODELS
from snn_cace.counting.operations import ModuleCount, count_operations
from snn_cace.counting.rules import Operations
from snn_cace.errors import InputError

PRICES = read_prices()
REUSING = with_reuse(PRICES)


def module(**static: float) -> ModuleCount:
    return ModuleCount("block", "Block", weights=2048, state=512, buffer=256, static=Operations(**static))


def test_each_model_by_hand():
    """2048 weights lie in 8 KiB (10 pJ an access); so little as 512 states and 256 values is no cheaper."""
    block = module(
        macs=100,
        acs=10,
        comparisons=2,
        transcendental=3,
        weight_reads=110,
        state_reads=7,
        state_writes=8,
        value_reads=4,
    )
    arithmetic = 100 * 4.6 + 10 * 0.9 + 2 * 0.9 + 3 * 4.6
    assert energy([block], "compute", PRICES).total == pytest.approx(arithmetic)
    assert energy([block], "memory", PRICES).total == pytest.approx(arithmetic + 4 * 24.96 * (110 + 7 + 8))
    integer = 100 * 3.2 + (10 + 2) * 0.1 + 3 * 3.2
    traffic = (110 + 15 + 4) * 10
    assert energy([block], "sram", PRICES).total == pytest.approx(integer + traffic)


def test_spikes_read_and_write_the_sums_that_they_add_to():
    block = ModuleCount("b", "B", weights=2048, buffer=2048, event_driven=Operations(acs=5, synops=5, weight_reads=5))
    spent = energy([block], "sram", PRICES)
    assert spent.static == 0
    assert spent.event_driven == pytest.approx(5 * 0.1 + 5 * 10 + 2 * 5 * 10)


def test_a_mac_of_few_bits_is_so_many_adds_and_never_dearer_than_a_whole_one():
    def spent(bits: int, model: str = "compute") -> float:
        narrow = Operations(narrow_macs=100, value_reads=9)
        return energy([ModuleCount("b", "B", buffer=4096, bits=bits, static=narrow)], model, PRICES).total

    assert spent(3) == pytest.approx(100 * 3 * 0.9)
    assert spent(8) == pytest.approx(100 * 4.6)
    for model in MODELS:
        by_bits = [spent(bits, model) for bits in range(1, 33)]
        assert by_bits == sorted(by_bits)


def test_reuse_changes_how_often_weights_are_read_and_nothing_else():
    reads = Operations(macs=7, weight_reads=100, weight_reads_per_segment=10, weight_reads_per_clip=1, state_reads=3)
    spent = {model: energy([ModuleCount("b", "B", static=reads)], model, PRICES).total for model in (*MODELS, *REUSING)}
    word = 4 * 24.96
    assert spent["memory"] - spent["memory/segment"] == pytest.approx(90 * word)
    assert spent["memory/segment"] - spent["memory/clip"] == pytest.approx(9 * word)
    assert spent["sram"] - spent["sram/clip"] == pytest.approx(99 * 10)
    assert spent["compute"] == pytest.approx(7 * 4.6)


def test_at_the_break_even_rate_both_cost_the_same():
    spiking = Energy(static=30, event_driven=20)
    rate = break_even_rate(spiking, 90, 0.2)
    assert rate == pytest.approx(0.6)
    assert spiking.static + spiking.event_driven * rate / 0.2 == pytest.approx(90)
    assert break_even_rate(spiking, 30, 0.2) is None
    assert break_even_rate(Energy(30, 0), 90, 0.0) == float("inf")


def test_energy_is_linear_in_modules():
    first, second = module(macs=5, weight_reads=7), module(acs=3, state_writes=2)
    together, apart = energies_mj([first, second], PRICES), [energies_mj([m], PRICES) for m in (first, second)]
    assert together == pytest.approx({model: apart[0][model] + apart[1][model] for model in (*MODELS, *REUSING)})


def test_the_memory_model_is_spikingjelly_s_simple_one_on_dense_layers():
    network = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 5)).eval()
    values = torch.randn(1, 6)
    profiler = SimpleEnergyProfiler()
    profiler.bind_model(network)
    with torch.no_grad(), profiler:
        network(values)
    theirs = profiler.get_report().energy_total_pj
    assert energy(count_operations(network, values).modules, "memory", PRICES).total == pytest.approx(theirs)


def test_the_sram_model_is_spikingjelly_s_lemaire_one_on_a_dense_layer_but_for_addresses_and_biases():
    """It adds a bias with an addition of its own, and addresses with one per value in and out; ours has neither."""
    network = nn.Sequential(nn.Linear(3000, 3000)).eval()  # 12 KB of values: ours has no memory below 8 KB
    values = torch.randn(1, 3000)
    profiler = LemaireEnergyProfiler()
    profiler.bind_model(network)
    with torch.no_grad(), profiler:
        network(values)
    theirs = profiler.get_report().total_pj - 0.1 * (3000 + 2 * 3000)
    assert energy(count_operations(network, values).modules, "sram", PRICES).total == pytest.approx(theirs)


def test_membranes_cost_what_lemaire_s_model_says_on_a_layer_of_if_neurons():
    layer = SpikingLayer(IF(threshold=0.5))
    current = torch.randn(4, 1, 1000, generator=torch.Generator().manual_seed(0))
    profiler = LemaireEnergyProfiler()
    profiler.bind_model(layer)
    with torch.no_grad(), profiler:
        layer.eval()(current)
    counts = profiler.get_report().counts
    (count,) = [m for m in count_operations(layer, current).modules if m.kind == "SpikingLayer"]
    assert 4 * count.total.state_reads * 4 == counts["read_potential_bytes"]
    assert 4 * count.total.state_writes * 4 == counts["write_potential_bytes"]


def test_prices_may_be_replaced_and_every_one_has_a_source(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("compute: {mac: {picojoules: 1.5, source: mine}}")
    mine = read_prices(tmp_path / "mine.yaml")
    for model in ("compute", "memory"):  # whose arithmetic is the first's
        assert energy([module(macs=2)], model, mine).total == pytest.approx(3.0)
    assert sources(mine)[1] == sources(PRICES)[1]
    assert all(row["source"] for row in sources(mine))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compute: {ac: {picojoules: -1, source: mine}}", r"compute\.ac: prices of energy must not be negative"),
        ("sram.access: {sizes_bytes: [8, 8], picojoules: [1, 2], source: mine}", "sizes_bytes must grow"),
        ("memory: {word_bits: 4}", "word_bits"),
        ("memory: {byte: {picojoules: 3}}", r"memory\.byte: say where the price is from"),
        ("memory: {byte: {picojoules: much, source: mine}}", "memory"),
        ("guess: {mac: 1}", "no energy model guess; there are compute, memory, sram"),
    ],
)
def test_bad_prices_are_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_prices(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match=r"no config file .*none\.yaml"):
        read_prices(tmp_path / "none.yaml")
