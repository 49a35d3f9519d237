"""Damaged HDF5 files: read as they are, or refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged, examples
from small import ave_reader, write_ave

from snn_cace.data import ave
from snn_cace.data.batches import ClipDataset
from snn_cace.errors import InputError

NAMES = [*ave.FILES.values(), *(f"{split}_order.h5" for split in ave.SPLITS)]


def read_all(directory: Path) -> None:
    layout = ave.read_layout(directory)
    ClipDataset(ave_reader(directory), np.arange(layout.clips), torch.float32, keep_in="memory")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ave(tmp_path_factory.mktemp("sound"))


@pytest.mark.slow
@examples(300)
@given(st.data())
def test_a_mutated_file_is_read_or_refused_in_one_line(
    sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    directory = tmp_path_factory.mktemp("damaged")
    shutil.copytree(sound, directory, dirs_exist_ok=True)
    path = directory / data.draw(st.sampled_from(NAMES))
    path.write_bytes(damaged(data.draw, path.read_bytes()))
    try:
        read_all(directory)
    except InputError as error:
        said = str(error)
    else:
        said = ""
    shutil.rmtree(directory)
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize("kind", ["external", "loop", "boolean", "huge", "virtual"])
def test_values_that_are_not_in_the_file_or_no_numbers_are_refused(tmp_path: Path, kind: str):
    write_ave(tmp_path)
    name = "train_order.h5" if kind == "huge" else "audio_feature.h5"
    with h5py.File(tmp_path / name, "w") as file:
        if kind == "external":
            file["avadataset"] = h5py.ExternalLink("labels.h5", "/avadataset")
        elif kind == "loop":
            file["avadataset"] = h5py.SoftLink("/dataset")
            file["dataset"] = h5py.SoftLink("/avadataset")
        elif kind == "boolean":
            file["avadataset"] = np.ones((12, 10, 6), bool)
        elif kind == "huge":
            file.create_dataset("order", (10**9,), "int64", chunks=(1000,))
        else:
            layout = h5py.VirtualLayout((12, 10, 6), "float32")
            layout[:] = h5py.VirtualSource("other.h5", "avadataset", (12, 10, 6))
            file.create_virtual_dataset("avadataset", layout)
    with pytest.raises(InputError, match=name) as raised:
        read_all(tmp_path)
    assert len(str(raised.value).splitlines()) == 1
