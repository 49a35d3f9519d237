"""AVEL, CMRAN and CMBS against the originals: outputs, losses, gradients and decisions for weights made by a rule.

The experiments are those of configs/ave, so their sizes are shown to be the originals' too. Where a file name says
reference, the original's faults are on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from golden_rule import golden, golden_inputs, golden_labels, normal, one_hot, peer_state
from small import peer_experiment

from snn_cace.config import Experiment, read_config
from snn_cace.contracts import ClipOutput, FeatureShape, NetworkOutput, SegmentOutput
from snn_cace.model import Network, build_network
from snn_cace.networks import find_network
from snn_cace.training.checkpoints import load_state
from snn_cace.training.losses import loss_terms, targets_from_labels, training_loss
from snn_cace.training.metrics import SegmentMetrics
from snn_cace.training.released import rename

CONFIGS = Path(__file__).parents[2] / "configs" / "ave"
CASES = {
    "avel/AV_att": "avel-reference",
    "avel/AV_att_weak": "avel-weak-reference",
    "cmran/supervised": "cmran-reference",
    "cmran/weak": "cmran-weak-reference",
    "cmbs/supervised": "cmbs-reference",
    "cmbs/weak": "cmbs-weak-reference",
    "avel/DMRN": "avel",
}
OUTPUTS = {
    "segment_scores": "segment_logits",
    "is_event_scores": "segment_relevance",
    "event_scores": "event_logits",
    "raw_logits": "event_logits",
    "audio_visual_gate": "gate",
    "av_gate": "gate",
    "av_score": "av_logits",
}
TERMS = {"is_event": "relevance", "event_class": "event", "gate": "gate", "av": "av"}
SHIFTS_A_SOFTMAX = "spatial_channel_att.video_key.bias"
"""Its gradient is zero; what is stored of it is rounding."""


def experiment_of(case: str) -> Experiment:
    changes = {"model.reference": True, "model.avel.fusion": "residual", "training.losses": "reference"}
    changes = changes if case == "avel/DMRN" else {}
    return read_config(CONFIGS / f"{CASES[case]}.yaml", Experiment, changes)


def names_of(experiment: Experiment) -> dict[str, str]:
    weak = experiment.training.supervision == "weak"
    return find_network(experiment.model.network).original(experiment.model, weak).names


def network_of(case: str) -> Network:
    experiment = experiment_of(case)
    network = build_network(experiment, FeatureShape(512, 128, 28))
    state = rename(peer_state(case), names_of(experiment))[0]
    extra = {key: value for key, value in network.state_dict().items() if key == "_extra_state"}
    load_state(network, {**state, **extra}, Path(case))
    return network.eval()


def stored_of(case: str) -> dict[str, np.ndarray]:
    stored = golden(f"peers/{case.split('/')[0]}")
    return {key.removeprefix(f"{case}/"): stored[key] for key in stored if key.startswith(f"{case}/")}


def batch_first(values: np.ndarray) -> torch.Tensor:
    """`[T, B, 1]` as `[B, T]`; all else is batch first already."""
    tensor = torch.from_numpy(values)
    return tensor.squeeze(-1).T if tensor.ndim == 3 and tensor.shape[-1] == 1 else tensor


def clip_labels(classes: list[int]) -> torch.Tensor:
    return one_hot(np.array(classes))


def assert_relative(got: torch.Tensor, want: torch.Tensor, tolerance: float) -> None:
    assert got.shape == want.shape
    assert float((got.double() - want).abs().max()) <= tolerance * float(want.abs().max())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_outputs_equal_the_original(case: str, dtype: torch.dtype, tolerance: float):
    weak = "weak" in case
    with torch.no_grad():
        output = network_of(case).to(dtype)(*(x.to(dtype) for x in golden_inputs()))
    for key, values in stored_of(case).items():
        if not key.startswith("output/"):
            continue
        name = key.removeprefix("output/")
        if "probabilities" in name or (weak and name == "event_scores"):
            logits = output.segment_logits if name == "segment_probabilities" else output.clip_logits
            got = logits.softmax(-1)
        else:
            got = getattr(output, OUTPUTS[name])
        assert_relative(got, batch_first(values), tolerance)
    assert torch.equal(output.segment_predictions(), torch.from_numpy(stored_of(case)["evaluation/predicted_class"]))


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("avel")])
def test_what_avel_attends_to_equals_the_original(case: str):
    network, (visual, audio) = network_of(case), golden_inputs()
    stored = stored_of(case)
    with torch.no_grad():
        patches = visual.flatten(2, 3)
        energies = network.attention.energies(patches, audio).flatten(0, 1)
        assert_relative(energies, torch.from_numpy(stored["stage/attention_logits"]), 1e-10)
        assert_relative(network.attention(patches, audio), torch.from_numpy(stored["stage/attended_visual"]), 1e-10)


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_equal_the_original(case: str):
    experiment, network, stored = experiment_of(case), network_of(case), stored_of(case)
    visual, audio = (x.requires_grad_() for x in golden_inputs())
    targets = targets_from_labels(golden_labels(), clip_labels([5, 12]) if "weak" in case else None)
    terms = loss_terms(network(visual, audio), targets, temperature=0.01, reference=True)
    loss = training_loss(terms, experiment.model.contrast, False)
    assert loss.item() == pytest.approx(float(stored["loss/total"]), rel=1e-10)
    for theirs, ours in TERMS.items():
        if "weak" not in case and f"loss/{theirs}" in stored:
            assert terms[ours].item() == pytest.approx(float(stored[f"loss/{theirs}"]), rel=1e-10), theirs
    loss.backward()

    names, parameters, seen = names_of(experiment), dict(network.named_parameters()), set()
    for name, norm, projection, reached in zip(
        *(stored[f"gradient/{key}"] for key in ("names", "norms", "projections", "reached")), strict=True
    ):
        prefix = next((old for old in names if name.startswith(old + ".")), None)
        ours = None if prefix is None else names[prefix] + name[len(prefix) :]
        if ours not in parameters:
            assert not reached, f"{name} is not mapped, yet the original trains it"
            continue
        seen.add(ours)
        gradient = parameters[ours].grad
        if name == SHIFTS_A_SOFTMAX:
            assert gradient.norm().item() < 1e-15
            continue
        shape = (*gradient.shape, 1) if name.startswith("CAS_model") else gradient.shape
        assert gradient.norm().item() == pytest.approx(float(norm), rel=1e-9), name
        projected = (gradient.reshape(shape) * torch.from_numpy(normal(f"cotangent/{case}/{name}", *shape))).sum()
        assert projected.item() == pytest.approx(float(projection), abs=1e-9 * float(norm)), name
        if f"gradient/full/{name}" in stored:
            assert_relative(gradient.reshape(shape), torch.from_numpy(stored[f"gradient/full/{name}"]), 1e-9)
    assert seen == set(parameters)
    assert_relative(audio.grad, torch.from_numpy(stored["gradient/input/audio"]), 1e-9)
    of_pictures = visual.grad.flatten(2).norm(dim=2)
    assert_relative(of_pictures, torch.from_numpy(stored["gradient/input/visual_norm_per_segment"]), 1e-9)


def made_up(case: str) -> tuple[NetworkOutput, torch.Tensor, torch.Tensor]:
    """Four clips: two classes in one clip, one class throughout, one event segment, and none; and their labels."""
    relevance, gate = normal("peer/relevance", 4, 10), 1 / (1 + np.exp(-normal("peer/gate", 4, 10)))
    relevance[0, 2] = 0
    event, raw = normal("peer/event", 4, 28), normal("peer/raw", 4, 29)
    event[[1, 2], [8, 20]] = 4
    raw[[0, 1, 2, 3], [3, 8, 28, 28]] = 4
    classes = np.full((4, 10), 28)
    classes[0, 2:5], classes[0, 5:7], classes[1], classes[2, 4] = 3, 17, 8, 20
    scores, av, clip = (
        normal("peer/segment_scores", 4, 10, 29),
        normal("peer/av", 4, 28),
        normal("peer/clip_scores", 4, 29),
    )
    given = {"relevance": relevance, "gate": gate, "event": event, "raw": raw, "scores": scores, "av": av, "clip": clip}
    values = {name: torch.from_numpy(array) for name, array in given.items()}
    if case.startswith("avel"):
        logits = {"event_logits": values["clip"], "clip_logits": values["clip"]} if "weak" in case else {}
        output = {"segment_relevance": values["relevance"], "segment_logits": values["scores"]} | logits
        output.setdefault("event_logits", values["scores"].amax(1)[:, :-1])
    elif "weak" in case:
        judged = values["gate" if case.startswith("cmbs") else "relevance"]
        output = {"segment_relevance": judged, "event_logits": values["raw"], "clip_logits": values["clip"]}
    else:
        output = {"segment_relevance": values["relevance"], "event_logits": values["event"]}
        if case.startswith("cmbs"):
            output |= {"gate": values["gate"], "av_logits": values["av"]}
    kind = SegmentOutput if case.startswith("avel") else ClipOutput
    return kind(**output), one_hot(classes), clip_labels([3, 8, 20, 28])


@pytest.mark.parametrize("case", [case for case in CASES if case != "avel/DMRN"])
def test_losses_and_decisions_of_corner_cases_equal_the_original(case: str):
    stored = stored_of(case)
    output, labels, clips = made_up(case)
    targets = targets_from_labels(labels, clips if "weak" in case else None)
    terms = loss_terms(output, targets, temperature=0.01, reference=True)
    total = training_loss(terms, experiment_of(case).model.contrast, False)
    assert total.item() == pytest.approx(float(stored["made_up/loss/total"]), rel=1e-10)
    predicted = output.segment_predictions()
    assert torch.equal(predicted, torch.from_numpy(stored["made_up/predicted_class"]))
    metrics = SegmentMetrics(num_classes=29)
    metrics.update(predicted, targets.segment_class)
    assert metrics.segment_accuracy() == pytest.approx(100 * float(stored["made_up/accuracy"]))


SHAPE = FeatureShape(visual_channels=5, audio_channels=6, classes=3)


def small_network(name: str, weak: bool = False, **changes: object) -> Network:
    experiment = peer_experiment(None, name, weak)
    for key, value in changes.items():
        setattr(experiment.model.avel if hasattr(experiment.model.avel, key) else experiment.model, key, value)
    torch.manual_seed(0)
    return build_network(experiment, SHAPE).double().eval()


def small_clips(segments: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(2, segments, 2, 3, 5).double(), torch.rand(2, segments, 6).double()


def test_avels_attention_adds_the_sound_to_every_patch_unit_by_unit():
    """The paper's formula written out; the original adds unit p of the sound to all units of patch p."""
    visual, audio = small_clips()
    attention = small_network("avel").attention
    patches = visual.flatten(2, 3)
    relu = torch.nn.functional.relu
    for reference in (False, True):
        attention.reference = reference
        got = attention.energies(patches, audio)[1, 4].squeeze(-1)
        heard = attention.guide_units.weight @ relu(attention.guide(audio[1, 4]))
        for p in range(6):
            seen = attention.patch_units.weight @ relu(attention.patch(patches[1, 4, p]))
            content = torch.tanh(seen + (heard[p] if reference else heard))
            assert got[p].item() == pytest.approx((attention.score.weight[0] @ content).item(), rel=1e-12)


def test_the_originals_attention_needs_a_unit_per_patch():
    with pytest.raises(ValueError, match=r"set model\.avel.units to 6"):
        small_network("avel", units=5, reference=True)(*small_clips())


@pytest.mark.parametrize(
    ("inputs", "guidance", "hears", "sees"),
    [
        ("audio", "none", True, False),
        ("visual", "none", False, True),
        ("visual", "audio", True, True),
        ("both", "none", True, True),
    ],
)
def test_each_row_of_avels_table_uses_what_it_says(inputs: str, guidance: str, hears: bool, sees: bool):
    network = small_network("avel", inputs=inputs, guidance=guidance)
    visual, audio = small_clips()
    before = network(visual, audio).segment_logits
    assert torch.equal(before, network(visual, torch.rand_like(audio)).segment_logits) != hears
    assert torch.equal(before, network(torch.rand_like(visual), audio).segment_logits) != sees


@pytest.mark.parametrize(
    ("name", "weak", "knows"),
    [
        ("avel", False, True),
        ("cmran", False, False),
        ("cmran", True, False),
        ("cmbs", False, True),
        ("cmbs", True, False),
    ],
)
def test_only_networks_with_a_temporal_encoder_know_the_order_of_segments(name: str, weak: bool, knows: bool):
    network = small_network(name, weak)
    visual, audio = small_clips()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    straight, moved = network(visual, audio), network(visual[:, order], audio[:, order])
    same = torch.allclose(straight.segment_relevance[:, order], moved.segment_relevance, atol=1e-12)
    assert same != knows


def test_weak_cmbs_as_published_gives_all_segments_of_a_clip_one_class():
    visual, audio = small_clips()
    published, corrected = (small_network("cmbs", weak=True, reference=flag) for flag in (True, False))
    of_clip = published(visual, audio).segment_predictions()
    assert torch.equal(of_clip, of_clip[:, :1].expand_as(of_clip))
    output = corrected(visual, audio)
    assert torch.allclose(output.segment_relevance.sigmoid(), output.gate)
    found = output.segment_predictions()
    assert torch.equal(found == SHAPE.classes, (output.gate <= 0.5) | (of_clip == SHAPE.classes))


def test_pooling_takes_the_most_relevant_segment_of_a_positive_logit_and_the_least_of_a_negative():
    relevance, logits = torch.tensor([[0.2, 0.9, 0.5]]), torch.tensor([[4.0, -4.0, 0.0]])
    pooled = build_network(experiment_of("cmran/weak"), SHAPE).pooled
    assert pooled(relevance, logits).tolist() == [[pytest.approx(3.6), pytest.approx(-0.8), 0.0]]
