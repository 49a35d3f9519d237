"""Dropout by random bits: what stays, how much of it, and whose generator it draws from."""

import pytest
import torch

from neurons import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_each_number_is_dropped_with_its_probability_whatever_its_place(p: float):
    """A number takes 16 of the 64 bits of a draw: each quarter drops as often as asked, alone and with the next."""
    torch.manual_seed(0)
    places = 1 << 18
    dropped = Dropout(p)(torch.ones(places, 4)) == 0
    spread = 5 * (p * (1 - p) / places) ** 0.5
    assert dropped.float().mean(0) == pytest.approx([p] * 4, abs=spread)
    both = (dropped & dropped.roll(1, dims=1)).float().mean(0)
    assert both == pytest.approx([p * p] * 4, abs=spread)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_stays_is_scaled_so_that_the_mean_stays_and_gradients_take_the_same_mask(dtype: torch.dtype):
    values = torch.linspace(1, 2, 999, dtype=dtype).expand(7, -1).clone().requires_grad_()
    dropout = Dropout(0.25)
    out = dropout(values)
    (gradient,) = torch.autograd.grad(out.sum(), values)
    assert out.dtype == dtype
    assert set(gradient.unique().tolist()) == {0.0, torch.tensor(1 / 0.75, dtype=dtype).item()}
    assert torch.equal(out, values * gradient)


def test_a_seed_gives_one_mask_with_any_number_of_threads():
    threads = torch.get_num_threads()
    masks = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(3)
            masks.append(Dropout(0.3)(torch.ones(40, 49, 512)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*masks)
    assert not torch.equal(masks[0], Dropout(0.3)(torch.ones(40, 49, 512)))


def test_evaluation_and_the_ends_of_probability_are_pytorchs():
    values = torch.randn(5, 3)
    assert Dropout(0.3).eval()(values) is values
    assert torch.equal(Dropout(0.0)(values), values)
    assert torch.equal(Dropout(1.0)(values), torch.zeros(5, 3))
    assert Dropout(0.4)(torch.empty(0, 3)).shape == (0, 3)
