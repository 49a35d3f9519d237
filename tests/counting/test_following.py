"""Spikes are followed by where they come from, each case against a count done by hand.

An `IFNode` with a threshold below its input fires wherever a one stands.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import snntorch
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from snn_cace import counting
from snn_cace.counting.rules import Operations


class Reads(nn.Module):
    """A layer that fires, what is made of its spikes, and a layer that reads that."""

    def __init__(self, made: Callable, reader: nn.Module, fires: nn.Module | None = None) -> None:
        super().__init__()
        self.fires, self.made, self.reader = fires or neuron.IFNode(0.5, step_mode="m"), made, reader

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        return self.reader(self.made(self.fires(currents)))


def counted(network: nn.Module, currents: torch.Tensor, name: str = "reader", by: str = "event_driven") -> Operations:
    audited = counting.audit(network, currents, batch_dim=1)
    return next(module.total for module in audited.count.counted[by] if module.name == name)


@pytest.mark.parametrize(
    ("mode", "place", "products"),
    [("zeros", 0, 4), ("circular", 0, 9), ("replicate", 0, 9), ("reflect", 0, 4), ("reflect", 1, 25)],
)
def test_borders_that_copy_spikes_are_spikes(mode: str, place: int, products: int):
    """One spike on 3 x 3, a 3 x 3 kernel. Around: at 0 of an axis it is read by 3 outputs, as twice the border is by
    replication. Reflection copies the 0 nowhere, and the 1 to both borders, where each is read once: 1 + 3 + 1.
    """
    currents = torch.zeros(1, 1, 1, 3, 3)
    currents[..., place, place] = 1.0
    reader = nn.Conv2d(1, 1, 3, padding=1, padding_mode=mode)
    found = counted(Reads(lambda spikes: spikes[0], reader), currents)
    assert (found.acs, found.synops, found.macs) == (products, products, 0)


def written(spikes: torch.Tensor) -> torch.Tensor:
    kept = torch.empty_like(spikes)
    for step in range(len(spikes)):
        kept[step] = spikes[step]
    return kept


@pytest.mark.parametrize(
    ("made", "fired"),
    [
        (lambda spikes: spikes[..., [0, 2, 0, 3]], 3 * 3),
        (lambda spikes: spikes.gather(2, torch.tensor([[[1, 1, 0, 0]]])), 2),
        (lambda spikes: spikes.index_select(2, torch.tensor([0, 1, 1, 3])), 3 * 1),
        (lambda spikes: spikes[:, torch.tensor([True])], 3 * 2),
        (lambda spikes: spikes.masked_fill(spikes.new_ones(4).bool(), 0.0), 0),
        (lambda spikes: torch.where(torch.tensor([True, False, False, False]), spikes, 0.0), 3),
        (lambda spikes: torch.cat([spikes, torch.zeros(1, 1, 4)]), 3 * 2),
        (written, 3 * 2),
    ],
)
def test_selections_of_spikes_are_spikes(made: Callable, fired: int):
    """The first and the third of four fire at each of three steps."""
    currents = torch.tensor([1.0, 0.0, 1.0, 0.0]).expand(3, 1, 4)
    found = counted(Reads(made, nn.Linear(4, 5)), currents)
    assert (found.synops, found.macs) == (fired * 5, 0)


def looped(start: Callable[[], object], in_place: bool = False) -> Callable:
    def made(spikes: torch.Tensor) -> torch.Tensor:
        total = start()
        for step in spikes:
            if in_place:
                total += step
            else:
                total = total + step
        return total

    return made


@pytest.mark.parametrize(
    "made",
    [
        looped(lambda: torch.zeros(1, 4)),
        looped(lambda: torch.full((1, 4), 0.0), in_place=True),
        looped(lambda: 0.0),
        lambda spikes: sum(spikes),
        lambda spikes: spikes.sum(0),
        lambda spikes: spikes.cumsum(0)[-1],
        lambda spikes: torch.stack(list(spikes)).sum(dim=(0,)),
    ],
)
def test_a_sum_over_steps_counts_spikes(made: Callable):
    """Four neurons fire at three steps: 12 spikes reach 2 outputs, divided by 3 or not."""
    ones, summed = torch.ones(3, 1, 4), counted(Reads(made, nn.Linear(4, 2)), torch.ones(3, 1, 4))
    assert (summed.synops, summed.macs) == (24, 0)
    rate = counted(Reads(lambda spikes: made(spikes) / 3, nn.Linear(4, 2)), ones)
    assert (rate.synops, rate.macs) == (24, 2)


def test_a_sum_over_steps_adds_each_spike_once():
    network = Reads(looped(lambda: torch.zeros(1, 4)), nn.Linear(4, 2))
    assert counted(network, torch.ones(3, 1, 4), "").acs == 12
    assert counted(Reads(lambda spikes: spikes.sum(0), nn.Linear(4, 2)), torch.ones(3, 1, 4), "").acs == 12


def test_all_spikes_of_a_clip_may_be_added_to_one_number():
    assert counted(Reads(lambda spikes: spikes.sum() + spikes.max(), nn.Identity()), torch.ones(3, 1, 4), "").acs == 13


def overwritten(spikes: torch.Tensor) -> torch.Tensor:
    kept = torch.zeros_like(spikes)
    kept[:2] = spikes[:2]
    kept[2] = 0.3
    return kept


@pytest.mark.parametrize(
    "made",
    [
        overwritten,
        lambda spikes: spikes.clone().mul_(0.5),
        lambda spikes: spikes.masked_fill(spikes > 2, 0.5),
        lambda spikes: torch.where(spikes > 2, spikes, 0.5),
        lambda spikes: 1 - 2 * spikes,
        lambda spikes: 2 - spikes,
    ],
)
def test_what_other_numbers_are_put_into_is_values(made: Callable):
    found = counted(Reads(made, nn.Linear(4, 2)), torch.ones(3, 1, 4))
    assert (found.synops, found.macs) == (0, 3 * 4 * 2)


class Gates(nn.Module):
    """Two trains of spikes, multiplied."""

    def __init__(self, inverted: bool) -> None:
        super().__init__()
        self.first, self.second, self.reader = neuron.IFNode(0.5), neuron.IFNode(0.5), nn.Linear(4, 2)
        self.inverted = inverted

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        first, second = self.first(currents[0]), self.second(currents[1])
        return self.reader(first * (1.0 - second) if self.inverted else first * second)


@pytest.mark.parametrize(("inverted", "added"), [(False, 1), (True, 1 + 4)])
def test_a_product_of_spikes_is_spikes(inverted: bool, added: int):
    """Both fire at one place of four, and the first alone at another: an AC for that, and 4 where 1 - x is taken."""
    currents = torch.tensor([[[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]]])
    found, own = counted(Gates(inverted), currents), counted(Gates(inverted), currents, "")
    assert (found.synops, found.macs) == (2, 0)
    assert (own.acs, own.macs) == (added, 0)


@pytest.mark.parametrize(("kind", "gates", "own"), [(nn.LSTM, 4, 9), (nn.GRU, 3, 9), (nn.RNN, 1, 0)])
def test_a_recurrent_layer_of_spikes_adds_columns_and_multiplies_its_state(kind: type, gates: int, own: int):
    """Four steps, three spikes of two inputs, three neurons with so many gates, and 3 h products beside."""
    currents = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]).unsqueeze(1)
    network = Reads(lambda spikes: spikes, kind(2, 3))
    found = counted(network, currents)
    assert (found.synops, found.macs) == (3 * gates * 3, 4 * (gates * 3 * 3 + own))
    assert found.acs - found.synops == (4 * 6 if kind is nn.GRU else 0)
    skipping = counted(network, currents, by="zero_skipping")
    assert skipping.macs == found.macs - gates * 3 * 3  # the state that it starts from
    values = counted(kind(2, 3), 2 * currents, "")
    assert (values.synops, values.macs) == (0, 4 * (gates * 3 * (2 + 3) + own))


class Amplitude(nn.Module):
    """What the spikes of snnTorch are worth."""

    def __init__(self, amplitude: float) -> None:
        super().__init__()
        self.amplitude = nn.Parameter(torch.tensor(amplitude))

    def forward(self, out: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return self.amplitude * out[0]


@pytest.mark.parametrize("amplitude", [2.0, 0.3])
@pytest.mark.parametrize("within", [True, False])
def test_an_amplitude_of_spikes_folds_into_the_layer_behind(amplitude: float, within: bool):
    """Three of four fire, whatever a spike is worth; conservatively what is multiplied is values."""
    fires = snntorch.Leaky(0.5, graded_spikes_factor=amplitude if within else 1.0, learn_graded_spikes_factor=True)
    network = Reads(Amplitude(1.0 if within else amplitude), nn.Linear(4, 2), fires)
    currents = torch.tensor([[2.0, 2.0, 2.0, 0.0]])
    audited = counting.audit(network, currents)
    assert audited.firing_rate == 0.75
    for by, wanted in (("event_driven", (6, 2)), ("conservative", (0, 8))):
        found = next(module.total for module in audited.count.counted[by] if module.name == "reader")
        assert (found.synops, found.macs) == wanted


class Graded(neuron.IFNode):
    """A node whose channels have an amplitude each."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.amplitude = nn.Parameter(torch.tensor([2.0, 3.0]).view(1, 2, 1, 1))

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        return super().forward(currents) * self.amplitude


def test_amplitudes_that_do_not_fold_leave_values():
    audited = counting.audit(nn.Sequential(Graded(), nn.Conv2d(2, 3, 1)), torch.ones(1, 2, 4, 4))
    found = audited.count.counted["event_driven"][-1].total
    assert (found.synops, found.macs) == (0, 2 * 3 * 16)
    assert (audited.firing_rate, audited.activity["0"].firing_rate) == (1.0, 1.0)


class Shared(nn.Module):
    """One layer that fires, behind two others, at each of three steps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.leaky = nn.Linear(4, 4), nn.Linear(4, 4), snntorch.Leaky(beta=0.5)

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        one, two = self.leaky.reset_mem(), self.leaky.reset_mem()
        for step in currents:
            spikes, one = self.leaky(self.first(step), one)
            spikes, two = self.leaky(self.second(spikes), two)
        return spikes


def test_a_layer_that_two_others_share_runs_no_more_steps():
    audited = counting.audit(Shared(), torch.ones(3, 1, 4), batch_dim=1)
    assert audited.steps == 3
    assert audited.activity["leaky"].firing_rate <= 1
    fires = neuron.IFNode(0.5, step_mode="m")
    twice = nn.Sequential(nn.Linear(4, 4), fires, nn.Linear(4, 4), fires)
    assert counting.audit(twice, torch.ones(3, 1, 4), batch_dim=1).steps == 3


def test_a_mean_over_steps_is_convolved_by_the_spikes_of_all():
    """Three steps of 4 x 4 spikes, a 1 x 1 kernel to two channels."""
    found = counted(Reads(lambda spikes: spikes.mean(0), nn.Conv2d(1, 2, 1)), torch.ones(3, 1, 1, 4, 4))
    assert (found.synops, found.macs) == (3 * 16 * 2, 0)


def test_a_mean_over_places_is_added_by_the_layer_behind():
    found = counted(Reads(lambda spikes: spikes[0].mean((2, 3)), nn.Linear(2, 5)), torch.ones(1, 1, 2, 4, 4))
    assert (found.synops, found.macs) == (2 * 16 * 5, 5)
