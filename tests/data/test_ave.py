"""AVE's layout: what is accepted, and what each kind of damage is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from small import CLASSES, CLIPS, SEGMENTS, ave_reader, write_ave
from torch.utils.data import DataLoader

from snn_cace.config import DataConfig
from snn_cace.data import ave, placement
from snn_cace.data.batches import ClipData, ClipDataset, whole_batch
from snn_cace.data.check import check_directory
from snn_cace.data.labels import write_labels
from snn_cace.data.placement import choose_place
from snn_cace.errors import InputError


@pytest.mark.parametrize("name", ["avadataset", "dataset"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_name_dtype_and_size_is_read(tmp_path: Path, name: str, dtype: type):
    visual = np.random.default_rng(0).random((CLIPS, SEGMENTS, 5, 4, 7)).astype(dtype)
    write_ave(tmp_path, visual=visual, name=name)
    layout = ave.read_layout(tmp_path)
    assert (layout.height, layout.width, layout.visual_channels, layout.audio_channels) == (5, 4, 7, 6)
    assert layout.classes == CLASSES
    clip = ClipDataset(ave_reader(tmp_path), layout.orders["val"], torch.float64)[1]
    assert torch.equal(clip["visual"], torch.from_numpy(visual[7].astype(np.float64)))
    assert clip["index"].item() == 7


@pytest.mark.parametrize("keep_in", ["disk", "memory"])
def test_compressed_chunks_of_several_clips_are_read_in_any_order(tmp_path: Path, keep_in: str):
    visual = np.random.default_rng(0).random((CLIPS, SEGMENTS, 2, 2, 8)).astype(">f4")
    write_ave(tmp_path, visual=visual)
    with h5py.File(tmp_path / "visual_feature.h5", "w") as file:
        file.create_dataset("avadataset", data=visual, chunks=(5, 3, 2, 2, 8), compression="gzip")
    order = np.random.default_rng(1).permutation(CLIPS)
    dataset = ClipDataset(ave_reader(tmp_path), order, torch.float64, keep_in=keep_in)
    assert np.array_equal(dataset.__getitems__(range(CLIPS))["visual"], visual[order])
    few = ClipDataset(ave_reader(tmp_path), np.array([7, 2]), torch.float64, keep_in=keep_in)
    assert np.array_equal(few.__getitems__([0, 1])["visual"], visual[[7, 2]])


def test_reading_ahead_in_other_processes_gives_the_same_batches(tmp_path: Path):
    write_ave(tmp_path)
    dataset = ClipDataset(ave_reader(tmp_path), np.arange(CLIPS), torch.float32)
    assert dataset[0]["index"].item() == 0  # opened here before any worker starts
    want = [
        dataset.__getitems__([0, 1, 2, 3, 4]),
        dataset.__getitems__([5, 6, 7, 8, 9]),
        dataset.__getitems__([10, 11]),
    ]
    for start, workers in (("fork", 2), ("spawn", 1)):
        loader = DataLoader(dataset, 5, num_workers=workers, collate_fn=whole_batch, multiprocessing_context=start)
        for got, expected in zip(loader, want, strict=True):
            assert all(torch.equal(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize("keep_as", ["full", "bfloat16"])
def test_clips_are_the_same_wherever_they_are_kept(tmp_path: Path, keep_as: str, monkeypatch: pytest.MonkeyPatch):
    write_ave(tmp_path)
    monkeypatch.setenv("SNN_CACE_CACHE", str(tmp_path / "cache"))
    rows = np.array([4, 2, 9])
    found = [
        ClipDataset(ave_reader(tmp_path), rows, torch.float32, keep_in=place, keep_as=keep_as).__getitems__([2, 0])
        for place in ("memory", "device", "mapped")
    ]
    if keep_as == "full":
        found.append(ClipDataset(ave_reader(tmp_path), rows, torch.float32).__getitems__([2, 0]))
    for other in found[1:]:
        for name in ("visual", "audio", "labels", "index"):
            assert torch.equal(found[0][name], other[name])
    assert list((tmp_path / "cache").iterdir()) == []


def test_clips_are_kept_where_there_is_room(monkeypatch: pytest.MonkeyPatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(placement.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (300, 400))
    assert [choose_place(size, cpu, 0) for size in (499, 500)] == ["memory", "mapped"]
    assert [choose_place(size, gpu, 0) for size in (149, 150, 500)] == ["device", "memory", "mapped"]
    assert choose_place(149, gpu, 2) == "memory"


def test_a_mapped_file_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_ave(tmp_path)
    monkeypatch.setenv("SNN_CACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(placement.psutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(InputError, match=r"cannot map 0\.0 GiB of clips in .*cache: .*use data\.keep_in: disk"):
        ClipDataset(ave_reader(tmp_path), np.arange(4), torch.float32, keep_in="mapped")


@pytest.mark.parametrize("rows", [[4, 2, 9], [0], list(range(11, -1, -1)), [3, 3]])
def test_whole_files_are_read_in_pieces_into_any_order(
    tmp_path: Path, rows: list[int], monkeypatch: pytest.MonkeyPatch
):
    """Pieces of a few rows, some of which hold none, few or all of those wanted."""
    write_ave(tmp_path)
    read = ClipDataset(ave_reader(tmp_path), np.array(rows), torch.float32)
    monkeypatch.setattr(ave, "CHUNK_BYTES", 6000)
    held = ClipDataset(ave_reader(tmp_path), np.array(rows), torch.float32, keep_in="memory")
    for name in ("visual", "audio", "labels", "index"):
        assert torch.equal(held.__getitems__(range(len(rows)))[name], read.__getitems__(range(len(rows)))[name])


@pytest.mark.parametrize(("hold", "spacing"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_features_held_in_half_precision_are_rounded_and_labels_are_not(tmp_path: Path, hold: str, spacing: float):
    write_ave(tmp_path)
    whole, half = (
        ClipDataset(ave_reader(tmp_path), np.arange(4), torch.float32, keep_in="memory", keep_as=h).__getitems__([0, 3])
        for h in ("full", hold)
    )
    assert half["visual"].dtype == torch.float32
    assert 0 < (half["visual"] - whole["visual"]).abs().max() <= spacing
    assert torch.equal(half["labels"], whole["labels"])


def test_features_too_large_for_half_precision_are_refused(tmp_path: Path):
    write_ave(tmp_path, audio=np.full((CLIPS, SEGMENTS, 6), 1e5, np.float32))
    with pytest.raises(
        InputError, match=r"audio_feature\.h5: 100000 is too large for float16; use data\.keep_as: full"
    ):
        ClipDataset(ave_reader(tmp_path), np.arange(4), torch.float32, keep_in="memory", keep_as="float16")


@pytest.mark.parametrize(("modalities", "silent"), [("audio", "visual"), ("visual", "audio")])
def test_one_modality_alone_leaves_the_other_zero(tmp_path: Path, modalities: str, silent: str):
    write_ave(tmp_path)
    clip = ClipDataset(ave_reader(tmp_path), np.arange(3), torch.float32, modalities)[0]
    assert not clip[silent].any()
    assert clip[modalities].any()


def damage_missing(directory: Path) -> None:
    (directory / "audio_feature.h5").unlink()


def damage_labels_missing(directory: Path) -> None:
    (directory / "labels.h5").unlink()


def damage_truncated(directory: Path) -> None:
    path = directory / "visual_feature.h5"
    path.write_bytes(path.read_bytes()[:-5000])


def damage_no_dataset(directory: Path) -> None:
    with h5py.File(directory / "labels.h5", "w") as file:
        file["other"] = np.zeros(3)


def damage_clips_differ(directory: Path) -> None:
    write_ave(directory, audio=np.zeros((CLIPS - 1, SEGMENTS, 6), np.float32))


def damage_segments_differ(directory: Path) -> None:
    write_ave(directory, labels=np.zeros((CLIPS, SEGMENTS - 1, CLASSES + 1), np.float32))


def damage_rank(directory: Path) -> None:
    write_ave(directory, visual=np.zeros((CLIPS, SEGMENTS, 8), np.float32))


def damage_order(directory: Path) -> None:
    write_ave(directory, orders={"train": [0, 1, CLIPS], "val": [2], "test": [3]})


DAMAGE = {
    damage_missing: r"no file .*audio_feature\.h5",
    damage_labels_missing: r"no file .*labels\.h5; make it .*: snn-cace data labels ",
    damage_truncated: r"visual_feature\.h5 is not a readable HDF5 file \(truncated\?\)",
    damage_no_dataset: r"labels\.h5 holds \['other'\], expected a dataset named avadataset or dataset",
    damage_clips_differ: r"audio_feature\.h5 has shape \[11, 10, 6\] and visual_feature\.h5 \[12, 10, 2, 3, 8\]",
    damage_segments_differ: r"labels\.h5 has shape \[12, 9, 4\] and visual_feature\.h5 \[12, 10, 2, 3, 8\]",
    damage_rank: r"visual_feature\.h5 has shape \[12, 10, 8\], expected \[N, T, H, W, Cv\]",
    damage_order: r"train_order\.h5 names row 12, but the files have rows 0 to 11",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_told_by_file_and_shape(tmp_path: Path, damage):
    write_ave(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=DAMAGE[damage]):
        ave.read_layout(tmp_path)
    assert any(file in problem for problem in check_directory(tmp_path).problems for file in ("h5",))


def test_a_file_that_another_process_writes_is_locked_not_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    path = write_ave(tmp_path) / "labels.h5"
    writes = "import sys, h5py; file = h5py.File(sys.argv[1], 'a'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", writes, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"\n"
        with pytest.raises(
            InputError, match=r"labels\.h5 is locked: another process has it open.*HDF5_USE_FILE_LOCKING"
        ):
            ave.read_layout(tmp_path)
        (problem,) = check_directory(tmp_path).problems
        assert "is locked" in problem and "truncated" not in problem and "\n" not in problem
        with pytest.raises(InputError, match=r"labels\.h5 is locked"):
            ClipDataset(ave_reader(tmp_path), np.arange(2), torch.float32)[0]
        writer.communicate(b"")
    assert path.is_file() and ave.read_layout(tmp_path).clips == CLIPS


@pytest.mark.parametrize("keep_in", ["memory", "disk"])
def test_nan_features_are_told_by_file_and_row(tmp_path: Path, keep_in: str):
    audio = np.zeros((CLIPS, SEGMENTS, 6), np.float32)
    audio[4, 2, 1] = np.nan
    write_ave(tmp_path, audio=audio)
    with pytest.raises(InputError, match=r"audio_feature\.h5: row 4 holds NaN or infinity"):
        ClipDataset(ave_reader(tmp_path), np.arange(CLIPS), torch.float32, keep_in=keep_in)[4]
    assert any("row 4 holds NaN" in problem for problem in check_directory(tmp_path).problems)


def test_check_finds_labels_that_are_not_one_hot_and_splits_that_overlap(tmp_path: Path):
    labels = np.eye(CLASSES + 1)[np.full((CLIPS, SEGMENTS), CLASSES)]
    labels[3, 5, 0] = 1
    write_ave(tmp_path, labels=labels, orders={"train": [0, 1, 1], "val": [1, 2], "test": [3]})
    problems = "\n".join(check_directory(tmp_path).problems)
    assert "row 3, segment 5 is not one-hot" in problems
    assert "train_order.h5 names 1 rows twice" in problems
    assert "train and val share 1 rows, row 1 first" in problems


def test_labels_are_made_from_annotations_and_never_overwritten(tmp_path: Path):
    write_ave(tmp_path)
    (tmp_path / "labels.h5").unlink()
    lines = [f"class {row % 3}&clip{row}&good&{row % 4}&{row % 4 + 5}\n" for row in range(CLIPS)]
    (tmp_path / "Annotations.txt").write_text("".join(lines))
    write_labels(tmp_path)
    assert check_directory(tmp_path).problems == []
    with pytest.raises(InputError, match=r"labels\.h5 is there already"):
        write_labels(tmp_path)


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [("test", [0, 10, 11], "train and test share 1 rows, row 0 first"), ("train", [0, 1, 1, 2], "names row 1 twice")],
)
def test_rows_that_would_leak_are_refused_before_anything_reads_them(
    tmp_path: Path, split: str, rows: list[int], message: str
):
    write_ave(tmp_path)
    with h5py.File(tmp_path / f"{split}_order.h5", "w") as file:
        file["order"] = np.array(rows)
    with pytest.raises(InputError, match=message):
        ClipData(DataConfig(directory=str(tmp_path)), torch.float32)


def test_orders_that_are_no_numbers_are_told_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    write_ave(tmp_path)
    with h5py.File(tmp_path / "test_order.h5", "w") as file:
        file["order"] = np.array([0.0, np.nan])
    with pytest.raises(InputError, match=r"test_order\.h5 should hold row numbers"):
        ave.read_layout(tmp_path)
    assert not recwarn.list
