"""The network against the reference implementation: outputs, losses and gradients for weights made by a rule.

The spiking network is compared in float64 only: in float32 a membrane may cross its threshold the other way.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_rule import GUIDANCE, golden, golden_inputs, golden_labels, normal, reference_network, reference_state

from snn_cace.config import ContrastConfig
from snn_cace.contracts import ClipOutput
from snn_cace.networks.cace import module_names
from snn_cace.training.losses import loss_terms, targets_from_labels, training_loss, validation_loss
from snn_cace.training.metrics import SegmentMetrics

OUTPUTS = {
    "is_event_scores": "segment_relevance",
    "event_scores": "event_logits",
    "audio_visual_gate": "gate",
    "av_score": "av_logits",
    "contrastive_feature1": "query",
    "contrastive_feature2": "key",
}
CASES = [(f"ann/{guide}", switch) for guide in GUIDANCE for switch in (True, False)] + [("snn/Co-Guide", True)]
CONTRAST = ContrastConfig(coefficient=1.0, temperature=0.01)


def batch_first(name: str, stored: np.ndarray) -> torch.Tensor:
    """Relevance and gate are stored [T, B, 1]; all else is batch first already."""
    tensor = torch.from_numpy(stored)
    return tensor.squeeze(-1).T if name in ("is_event_scores", "audio_visual_gate") else tensor


def assert_relative(got: torch.Tensor, want: torch.Tensor, tolerance: float) -> None:
    """Largest difference, relative to the array's largest entry."""
    assert got.shape == want.shape
    assert float((got.double() - want).abs().max()) <= tolerance * float(want.abs().max())


def test_the_rule_makes_the_inputs_the_golden_outputs_were_made_for():
    stored = golden("ann")
    visual, audio = golden_inputs()
    weight = reference_state("ann/Co-Guide")["v_fc.weight"].flatten()[: stored["rule/v_fc.weight"].size]
    np.testing.assert_allclose(weight, stored["rule/v_fc.weight"], rtol=1e-12)
    assert visual.sum().item() == pytest.approx(float(stored["rule/sum_of_visual"]), rel=1e-12)
    assert audio.sum().item() == pytest.approx(float(stored["rule/sum_of_audio"]), rel=1e-12)
    noise = normal("augmentation_noise", 10, 2, 256)
    assert noise.sum() == pytest.approx(float(stored["rule/sum_of_augmentation_noise"]), rel=1e-9)


@pytest.mark.parametrize(
    ("case", "switch", "dtype", "tolerance"),
    [(*case, torch.float64, 1e-9) for case in CASES]
    + [(*case, torch.float32, 1e-5) for case in CASES if case[0].startswith("ann")],
)
def test_outputs_equal_the_reference(case: str, switch: bool, dtype: torch.dtype, tolerance: float):
    stored = golden(case.split("/")[0])
    network = reference_network(case, enhance=switch).to(dtype)
    with torch.no_grad():
        output = network(*(x.to(dtype) for x in golden_inputs()))
    for theirs, ours in OUTPUTS.items():
        want = batch_first(theirs, stored[f"{case}/switch={switch}/{theirs}"])
        assert_relative(getattr(output, ours), want, tolerance)


def test_without_contrast_the_switch_changes_nothing():
    network = reference_network("ann/Co-Guide", enhance=True, contrast=False)
    with torch.no_grad():
        output = network(*golden_inputs())
    want = batch_first("is_event_scores", golden("ann")["ann/Co-Guide/switch=False/is_event_scores"])
    assert_relative(output.segment_relevance, want, 1e-9)


def made_up_output() -> tuple[ClipOutput, torch.Tensor]:
    """Four clips: two classes in one clip, one class throughout, one event segment, and none."""
    from golden_rule import contrastive_inputs, one_hot

    query, key, _ = contrastive_inputs()
    event = torch.from_numpy(normal("loss/event", 4, 28))
    event[[1, 2], [8, 20]] = 4
    classes = np.full((4, 10), 28)
    classes[0, 2:5], classes[0, 5:7], classes[1], classes[2, 4] = 3, 17, 8, 20
    output = ClipOutput(
        segment_relevance=torch.from_numpy(normal("loss/relevance", 10, 4, 1)).squeeze(-1).T,
        event_logits=event,
        gate=torch.from_numpy(1 / (1 + np.exp(-normal("loss/gate", 10, 4, 1)))).squeeze(-1).T,
        av_logits=torch.from_numpy(normal("loss/av", 4, 28)),
        query=query,
        key=key,
    )
    return output, one_hot(classes)


def stored_output(case: str, switch: bool) -> tuple[ClipOutput, torch.Tensor]:
    stored = golden(case.split("/")[0])
    values = {ours: batch_first(theirs, stored[f"{case}/switch={switch}/{theirs}"]) for theirs, ours in OUTPUTS.items()}
    return ClipOutput(**values), golden_labels()


@pytest.mark.parametrize("case", ["made_up", *CASES], ids=str)
def test_losses_and_accuracy_equal_the_reference(case):
    name = case if case == "made_up" else f"{case[0]}/switch={case[1]}"
    output, labels = made_up_output() if case == "made_up" else stored_output(*case)
    targets = targets_from_labels(labels)
    terms = loss_terms(output, targets, temperature=0.01, reference=True)
    got = {
        "is_event": terms["relevance"],
        "event_class": terms["event"],
        "gate": terms["gate"],
        "av": terms["av"],
        "contrastive": terms["contrastive"],
        "total_contrastive_off": training_loss(terms, CONTRAST, False),
        "total_contrastive_on": training_loss(terms, CONTRAST, True),
        "validation": validation_loss(terms, CONTRAST, True, reference=True),
    }
    stored = golden("losses")
    for term, value in got.items():
        assert value.item() == pytest.approx(float(stored[f"{name}/{term}"]), rel=1e-9), term
    metrics = SegmentMetrics(num_classes=29)
    metrics.update(output.segment_predictions(), targets.segment_class)
    assert metrics.segment_accuracy() == pytest.approx(float(stored[f"{name}/accuracy"]), rel=1e-12)


@pytest.mark.parametrize("case", ["ann/Co-Guide", "snn/Co-Guide"])
def test_gradients_equal_the_reference(case: str):
    stored = golden("gradients")
    network = reference_network(case, enhance=True)
    visual, audio = (x.requires_grad_() for x in golden_inputs())
    targets = targets_from_labels(golden_labels())
    terms = loss_terms(network(visual, audio), targets, temperature=0.01, reference=True)
    training_loss(terms, CONTRAST, True).backward()

    parameters = dict(network.named_parameters())
    prefixes = module_names("co")
    seen = set()
    for name, norm, reached in zip(
        stored[f"{case}/names"], stored[f"{case}/norms"], stored[f"{case}/reached"], strict=True
    ):
        prefix = next((old for old in prefixes if name.startswith(old + ".")), None)
        if prefix is None:
            assert not reached, f"{name} is not mapped, yet the reference trains it"
            continue
        ours = prefixes[prefix] + name[len(prefix) :]
        seen.add(ours)
        assert parameters[ours].grad.norm().item() == pytest.approx(float(norm), rel=1e-9, abs=1e-13), name
        if f"{case}/full/{name}" in stored:
            assert_relative(parameters[ours].grad, torch.from_numpy(stored[f"{case}/full/{name}"]), 1e-9)
    assert seen == set(parameters)
    assert_relative(audio.grad, torch.from_numpy(stored[f"{case}/input/audio"]), 1e-9)
    visual_norm = visual.grad.flatten(2).norm(dim=2)
    assert_relative(visual_norm, torch.from_numpy(stored[f"{case}/input/visual_norm_per_segment"]), 1e-9)
