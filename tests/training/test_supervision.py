"""Every network under both supervisions, dense and spiking: trained, resumed, predicted, compared; and what weak
supervision sees of the labels.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from small import CLASSES, CLIPS, PEERS, SEGMENTS, SPLIT_ROWS, peer_experiment, write_ave

from snn_cace.cli import main
from snn_cace.config import AVDigitsConfig, DataConfig, Experiment, as_yaml, from_dict
from snn_cace.data.avdigits import make_clips, write_avdigits
from snn_cace.data.batches import ClipData
from snn_cace.data.check import check_directory
from snn_cace.errors import InputError
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.losses import label_loss
from snn_cace.training.run import train


def named(network: str, weak: bool, spiking: bool) -> str:
    return f"{network}-{'weak' if weak else 'full'}-{'snn' if spiking else 'ann'}"


@pytest.fixture
def ave(tmp_path: Path) -> Path:
    return write_ave(tmp_path / "ave")


def write(path: Path, values: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["avadataset"] = values


@pytest.mark.parametrize("which", PEERS, ids=lambda which: named(*which))
def test_a_resumed_run_of_any_network_gives_the_same_numbers_and_predicts_them(
    tmp_path: Path, ave: Path, which: tuple, capsys: pytest.CaptureFixture
):
    experiment = peer_experiment(ave, *which)
    whole = train(experiment, tmp_path / "whole", quiet=True)
    assert train(experiment, tmp_path / "broken", quiet=True, until=1) == {}
    resumed = train(experiment, tmp_path / "broken", resume=True, quiet=True)
    assert (resumed["val"], resumed["test"]) == (whole["val"], whole["test"])
    terms = set(whole["test"]) - {"segment_accuracy", "loss"}
    network, weak, _ = which
    full = {
        "cace": {"relevance", "gate", "event", "av", "contrastive"},
        "avel": {"segment"},
        "cmran": {"relevance", "event"},
        "cmbs": {"relevance", "gate", "event", "av"},
    }
    assert terms == ({"clip"} if weak else full[network])

    words = ["predict", "--checkpoint", str(tmp_path / "whole"), "--output", str(tmp_path / "p"), "--quiet"]
    assert main(words) == 0
    predicted = np.load(tmp_path / "p" / "predictions.npz")
    assert predicted["event_logits"].shape == (3, CLASSES + weak)
    assert ("clip_logits" in predicted) == weak
    assert ("segment_logits" in predicted) == (network == "avel")
    with h5py.File(ave / "labels.h5") as file:
        truth = file["avadataset"][SPLIT_ROWS["test"]].argmax(-1)
    right = 100 * (predicted["segment_class"] == truth).mean()
    assert whole["test"]["segment_accuracy"] == pytest.approx(right)


@pytest.mark.parametrize("network", ["cace", "avel", "cmran", "cmbs"])
def test_weak_supervision_sees_no_label_of_a_segment(tmp_path: Path, ave: Path, network: str):
    """Training on other labels of segments, and the same of clips, ends in the same weights."""
    with h5py.File(ave / "labels.h5") as file:
        labels = file["avadataset"][()]
    of_clips = np.eye(CLASSES + 1)[[row % CLASSES for row in range(CLIPS)]]
    other = labels.copy()
    other[SPLIT_ROWS["train"]] = np.roll(labels[SPLIT_ROWS["train"]], 3, axis=0)
    moved = write_ave(tmp_path / "moved", labels=other)
    weights = []
    for directory in (ave, moved):
        write(directory / "mil_labels.h5", of_clips)
        run = tmp_path / f"run-{directory.name}"
        experiment = peer_experiment(directory, network, weak=True)
        experiment.training.epochs = 2
        train(experiment, run, quiet=True)
        weights.append(torch.load(RunFiles(run).last, weights_only=True)["state_dict"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items() if torch.is_tensor(value))


def test_background_clips_are_drawn_once_an_epoch_and_labelled_background(tmp_path: Path, ave: Path):
    rng = np.random.default_rng(1)
    write(ave / "visual_feature_noisy.h5", rng.random((4, SEGMENTS, 2, 3, 8)))
    write(ave / "audio_feature_noisy.h5", rng.random((4, SEGMENTS, 6)))
    write(ave / "mil_labels.h5", np.eye(CLASSES + 1)[[row % CLASSES for row in range(CLIPS)]])
    for place in ("memory", "disk"):
        config = DataConfig(directory=str(ave), background_clips=True, batch_size=3, keep_in=place)
        batches = list(ClipData(config, torch.float32, supervision="weak").train_dataloader())
        joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        order = joined["index"].argsort()
        assert joined["index"][order].tolist() == [*SPLIT_ROWS["train"], *range(CLIPS, CLIPS + 4)]
        background = joined["index"] >= CLIPS
        assert joined["labels"][background][..., -1].all() and joined["clip_labels"][background][:, -1].all()
        assert joined["clip_labels"][~background].argmax(1).tolist() == (joined["index"][~background] % 3).tolist()
        alone = ClipData(config, torch.float32, supervision="weak").training_clips().__getitems__([7, 6])
        assert alone["index"].tolist() == [CLIPS + 1, CLIPS] and alone["labels"][..., -1].all()
        first = joined["visual"][joined["index"] == CLIPS][0]
        with h5py.File(ave / "visual_feature_noisy.h5") as file:
            assert torch.equal(first, torch.from_numpy(file["avadataset"][0]).float())
    with pytest.raises(InputError, match=r"data\.drop_last: 6 training clips are no full batch of 7"):
        ClipData(DataConfig(directory=str(ave), batch_size=7, drop_last=True), torch.float32, supervision="full")
    config = DataConfig(directory=str(ave), batch_size=4, shuffle=False, drop_last=True)
    (batch,) = ClipData(config, torch.float32, supervision="full").train_dataloader()
    assert batch["index"].tolist() == SPLIT_ROWS["train"][:4]


@pytest.mark.parametrize(
    ("file", "shape", "message"),
    [
        ("mil_labels.h5", (CLIPS, CLASSES), r"mil_labels.h5 has shape \[12, 3\], expected \[12, 4\]"),
        ("mil_labels.h5", (CLIPS, CLASSES + 1), "mil_labels.h5: each clip needs one class or more"),
        ("visual_feature_noisy.h5", (4, SEGMENTS, 3, 3, 8), "visual_feature_noisy.h5 holds clips of shape"),
        ("audio_feature_noisy.h5", (5, SEGMENTS, 6), "has 4 clips, audio_feature_noisy.h5 5"),
    ],
)
def test_weak_files_that_do_not_fit_are_named(tmp_path: Path, ave: Path, file: str, shape: tuple, message: str):
    write(ave / "visual_feature_noisy.h5", np.zeros((4, SEGMENTS, 2, 3, 8)))
    write(ave / "audio_feature_noisy.h5", np.zeros((4, SEGMENTS, 6)))
    write(ave / file, np.zeros(shape))
    with pytest.raises(InputError, match=message):
        ClipData(DataConfig(directory=str(ave), background_clips=True), torch.float32, supervision="weak")


def test_data_check_tells_of_files_for_weak_supervision(ave: Path):
    write(ave / "visual_feature_noisy.h5", np.zeros((4, SEGMENTS, 2, 3, 8)))
    write(ave / "audio_feature_noisy.h5", np.zeros((4, SEGMENTS, 6)))
    right = np.eye(CLASSES + 1)[[row % CLASSES for row in range(CLIPS)]]
    write(ave / "mil_labels.h5", right)
    summary = check_directory(ave)
    assert summary.problems == []
    assert "background clips 4, for data.background_clips" in summary.lines
    write(ave / "mil_labels.h5", np.roll(right, 1, axis=0))
    (problem,) = check_directory(ave).problems
    assert "mil_labels.h5 lacks an event that labels.h5 has in 12 clips, first in row 0" in problem


def test_missing_background_clips_are_one_line(ave: Path):
    with pytest.raises(InputError, match=r"no file .*visual_feature_noisy\.h5"):
        ClipData(DataConfig(directory=str(ave), background_clips=True), torch.float32, supervision="full")
    assert len(ClipData(DataConfig(directory=str(ave), background_clips=True), torch.float32).dataset("test")) == 3


def test_avdigits_background_clips_show_no_event_and_change_no_other(tmp_path: Path):
    sizes = {"train_clips": 9, "val_clips": 9, "test_clips": 9}
    write_avdigits(tmp_path / "plain", AVDigitsConfig(**sizes))
    write_avdigits(tmp_path / "with", AVDigitsConfig(**sizes, background_clips=5))
    for name in ("visual_feature.h5", "audio_feature.h5", "labels.h5"):
        with h5py.File(tmp_path / "plain" / name) as plain, h5py.File(tmp_path / "with" / name) as other:
            assert np.array_equal(plain["avadataset"], other["avadataset"])
    without = make_clips(AVDigitsConfig(**sizes, background_clips=40), "background")
    assert without.labels[..., -1].all() and without.visual.shape == (40, 10, 7, 7, 16)
    covered = without.places.any((2, 3))
    assert covered.any() and not covered.all(), "the class's digit is seen, but not beside its speaker"


def test_probabilities_taken_for_logits_leave_the_loss_next_to_nothing_to_learn():
    """One-hot labels of 29 classes: from 0.6800, certain and right, to 0.7145, certain and wrong; uniform 0.7093."""
    labels = torch.eye(29, dtype=torch.float64)[[4]]
    right, wrong = (1000 * torch.eye(29, dtype=torch.float64)[[index]] for index in (4, 5))
    flat = torch.zeros(1, 29, dtype=torch.float64)
    found = [label_loss(logits, labels, reference=True).item() for logits in (right, flat, wrong)]
    assert found == pytest.approx([0.6800, 0.7093, 0.7145], abs=5e-5)
    assert label_loss(right, labels, reference=False).item() == 0
    assert label_loss(flat, labels, reference=False).item() == pytest.approx(np.log(29))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.network": "resnet"}, "no network 'resnet'; give cace, avel, cmran, cmbs, or package.module:Class"),
        ({"model.network": "nowhere:Net"}, "model.network: nowhere:Net cannot be imported: No module named 'nowhere'"),
        ({"model.network": "pathlib:Path"}, "model.network: pathlib:Path is no class derived from"),
        ({"model.network": "avel"}, "model.guidance: co is CACE-Net's; avel knows audio and none"),
        ({"model.network": "cmran", "model.guidance": "audio"}, "model.contrast.enabled: cmran has none; set it to"),
        ({"training.supervision": "weak"}, "model.contrast.enabled: it needs labels of segments"),
        ({"model.reference": True}, "model.reference: cace has no fault of its own here"),
        (
            {"model.network": "avel", "model.guidance": "audio", "model.contrast.enabled": False}
            | {"model.avel.inputs": "audio"},
            "model.guidance: audio attends to pictures, model.avel.inputs: audio has none",
        ),
        (
            {"model.network": "cmran", "model.guidance": "audio", "model.contrast.enabled": False}
            | {"model.causal": True},
            "model.causal: cmran sees whole clips",
        ),
    ],
)
def test_keys_that_a_network_does_not_have_are_named(changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        from_dict(nested(changes), Experiment, "test")


@pytest.mark.parametrize(
    ("network", "weak", "slot", "there"),
    [
        ("avel", False, "visual_projection", "temporal_encoder, feed_forward"),
        ("cmran", False, "temporal_encoder", "visual_projection, feed_forward, interaction, event_head"),
        ("cmbs", True, "temporal_encoder", "visual_projection, feed_forward, interaction, event_head"),
    ],
)
def test_slots_that_a_network_does_not_have_are_named(network: str, weak: bool, slot: str, there: str):
    plain = nested({"model.network": network, "model.guidance": "audio", "model.contrast.enabled": False})
    plain["training"] = {"supervision": "weak" if weak else "full"}
    plain["model"]["slots"] = {slot: {"block": "spiking"}}
    with pytest.raises(InputError, match=f"model.slots.{slot}: {network} has no such slot; it has {there}$"):
        from_dict(plain, Experiment, "test")


def test_avels_original_attention_is_refused_on_other_pictures_before_anything_is_written(tmp_path: Path, ave: Path):
    experiment = peer_experiment(ave, "avel")
    experiment.model.reference, experiment.model.avel.units = True, 49
    with pytest.raises(InputError, match=r"model\.avel\.units \(49\): model\.reference needs one per patch, 6"):
        train(experiment, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def nested(dotted: dict) -> dict:
    from snn_cace.config import put_over

    return put_over({}, dotted)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_a_comparison_holds_each_spiking_peer_against_its_own_ann(tmp_path: Path, ave: Path):
    chosen = [which for which in PEERS if which[:2] in {("cace", False), ("avel", False), ("cmbs", True)}]
    for which in chosen:
        experiment = peer_experiment(ave, *which)
        experiment.training.epochs = 1
        (tmp_path / f"{experiment.name}.yaml").write_text(as_yaml(experiment))
    names = [peer_experiment(ave, *which).name for which in chosen]
    (tmp_path / "compare.yaml").write_text(
        f"name: peers\nexperiments: [{', '.join(f'{name}.yaml' for name in names)}]\nseeds: [0]\n"
        "controls: []\npairs: [[avel, cmbs-weak]]\n"
        "published: {avel: {accuracy: 72.7, note: as recalled}}\n"
    )
    words = ["compare", "--config", str(tmp_path / "compare.yaml"), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    variants = {variant["name"]: variant for variant in result["variants"]}
    assert list(variants) == names
    for name, variant in variants.items():
        own = name.removesuffix("-snn")
        assert variant["dense_counterpart"] == own
        if name.endswith("-snn"):
            for model in result["energy_models"]:
                dense, counted = (variants[one]["counts"]["conservative"] for one in (own, name))
                assert counted["replaced_blocks_energy_mj"][model] == pytest.approx(
                    dense["spiking_blocks"]["energy_mj"][model]
                )
            assert variant["anytime"]["depths"][-1]["segment_accuracy"]["mean"] == pytest.approx(
                variant["test_segment_accuracy"]["mean"]
            )
            assert 0 < variant["firing_rate"]["mean"] < 1
    tested = [(test["a"], test["b"]) for test in result["tests"]]
    assert tested[: len(names) - 1] == [(name, names[0]) for name in names[1:]]
    assert tested[len(names) - 1 :] == [
        *((name, name.removesuffix("-snn")) for name in names if name.endswith("-snn") and not name.startswith("cace")),
        ("avel", "cmbs-weak"),
    ]
    for name in (name for name in names if name.endswith("-snn")):
        run = str(tmp_path / "out" / name / "seed-0")
        assert main(["spikes", "--checkpoint", run, "--output", str(tmp_path / name), "--quiet"]) == 0
        spikes = json.loads((tmp_path / name / "spikes.json").read_text())
        assert spikes["firing_rate"] == pytest.approx(variants[name]["firing_rate"]["mean"])
    report = (tmp_path / "out" / "comparison.md").read_text()
    assert "Published of avel: 72.7 %, as recalled." in report
