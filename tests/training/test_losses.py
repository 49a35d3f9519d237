"""The contrastive loss against the reference, in every precision, and the quirks that `corrected` mends."""

from __future__ import annotations

import pytest
import torch
from golden_rule import contrastive_inputs, golden

from snn_cace.training.losses import class_loss, contrastive_anchor_terms, gate_loss, targets_from_labels


def test_contrastive_loss_and_its_gradients_equal_the_reference():
    stored = golden("contrastive")
    query, key, is_event = contrastive_inputs()
    query.requires_grad_(), key.requires_grad_()
    terms = contrastive_anchor_terms(query, key, is_event, temperature=0.01)
    terms.mean().backward()
    torch.testing.assert_close(terms.detach(), torch.from_numpy(stored["anchor_terms"]), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms.mean(1).detach(), torch.from_numpy(stored["loss_per_sample"]), rtol=1e-9, atol=0)
    for got, name in ((query.grad, "q_grad"), (key.grad, "k_grad")):
        want = torch.from_numpy(stored[name])
        assert float((got - want).abs().max()) <= 1e-9 * float(want.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_contrastive_loss_stays_finite_where_plain_exp_overflows(dtype: torch.dtype):
    query, key, is_event = contrastive_inputs()
    query, key = query.to(dtype).requires_grad_(), key.to(dtype).requires_grad_()
    terms = contrastive_anchor_terms(query, key, is_event, temperature=0.01)
    terms.mean().backward()
    assert terms.dtype is torch.float32
    assert terms.isfinite().all() and query.grad.isfinite().all() and key.grad.isfinite().all()
    assert torch.isnan(torch.from_numpy(golden("contrastive")["loss_float32_plain_exp"])).all()
    want = float(golden("contrastive")["loss"])
    assert terms.mean().item() == pytest.approx(want, rel=1e-4 if dtype is torch.float32 else 0.05)


def test_contrastive_loss_does_not_mix_clips():
    query, key, is_event = contrastive_inputs()
    together = contrastive_anchor_terms(query, key, is_event, 0.01)
    alone = torch.cat(
        [contrastive_anchor_terms(query[i : i + 1], key[i : i + 1], is_event[i : i + 1], 0.01) for i in range(4)]
    )
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


def test_clip_target_is_the_largest_class_and_zero_without_an_event():
    labels = torch.zeros(2, 3, 5)
    labels[0, 0, 1] = labels[0, 1, 3] = labels[0, 2, 4] = 1
    labels[1, :, 4] = 1
    targets = targets_from_labels(labels)
    assert targets.clip_class.tolist() == [3, 0]
    assert targets.has_event.tolist() == [True, False]
    assert targets.segment_class.tolist() == [[1, 3, 4], [4, 4, 4]]


def test_corrected_class_loss_leaves_out_clips_without_an_event():
    logits = torch.tensor([[0.0, 2.0], [5.0, -5.0]])
    targets = targets_from_labels(torch.tensor([[[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]]))
    first_only = torch.log(1 + torch.exp(torch.tensor(-2.0)))
    assert class_loss(logits, targets, reference=False).item() == pytest.approx(first_only.item())
    both = (first_only + torch.log(1 + torch.exp(torch.tensor(-10.0)))) / 2
    assert class_loss(logits, targets, reference=True).item() == pytest.approx(both.item())
    none = targets_from_labels(torch.tensor([[[0.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]]]))
    assert class_loss(logits, none, reference=False).item() == 0


def test_corrected_gate_loss_vanishes_for_a_perfect_gate_and_the_reference_one_cannot():
    is_event = torch.tensor([[1.0, 0.0]])
    targets = targets_from_labels(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    assert gate_loss(is_event, targets, reference=False).item() == 0
    squashed_again = (torch.log(1 + torch.exp(torch.tensor(-1.0))) + torch.log(torch.tensor(2.0))) / 2
    assert gate_loss(is_event, targets, reference=True).item() == pytest.approx(squashed_again.item())


def test_a_batch_of_one_clip_has_a_loss():
    query, key, is_event = (x[:1] for x in contrastive_inputs())
    assert contrastive_anchor_terms(query, key, is_event, 0.01).shape == (1, 20)
