"""Damaged checkpoints: never loaded with other weights, always refused in one line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged, examples
from small import small_experiment

from snn_cace.contracts import FeatureShape
from snn_cace.errors import InputError
from snn_cace.model import CaceNet
from snn_cace.training.checkpoints import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "best.ckpt"
    experiment = small_experiment(None)
    save_checkpoint(path, CaceNet(experiment.model, FeatureShape(8, 6, 3)), experiment)
    return path


@pytest.mark.slow
@examples(300)
@given(st.data())
def test_a_mutated_checkpoint_has_its_weights_or_is_refused_in_one_line(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    path = tmp_path_factory.mktemp("damaged") / "best.ckpt"
    path.write_bytes(damaged(data.draw, sound.read_bytes()))
    try:
        state = load_checkpoint(path).network.state_dict()
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for key, value in load_checkpoint(sound).network.state_dict().items():
        assert torch.equal(value, state[key]) if isinstance(value, torch.Tensor) else value == state[key]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_checkpoint_that_is_cut_short_is_to_be_copied_again(sound: Path, tmp_path: Path, share: float):
    content = sound.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"cut\.ckpt is not a readable PyTorch file of tensors: [^.]*; copy it again$"):
        load_checkpoint(tmp_path / "cut.ckpt")


def test_a_checkpoint_with_another_bit_in_its_weights_is_refused(sound: Path, tmp_path: Path):
    content = bytearray(sound.read_bytes())
    with zipfile.ZipFile(sound) as parts:
        tensors = [parts.read(name) for name in parts.namelist() if "/data/" in name]
    content[content.find(max(tensors, key=len))] ^= 1
    (tmp_path / "altered.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"altered\.ckpt is damaged: .*/data/\d+ does not have the checksum"):
        load_checkpoint(tmp_path / "altered.ckpt")
