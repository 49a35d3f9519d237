"""Batches of clips for the network, from AVE's layout or from AV-Digits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import h5py
import lightning as L
import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, Sampler, SequentialSampler
from tqdm import tqdm

from snn_cace.config import DataConfig, Supervision
from snn_cace.contracts import FeatureShape
from snn_cace.data import ave
from snn_cace.data.avdigits import cached_avdigits
from snn_cace.data.placement import allocate, choose_place
from snn_cace.errors import InputError
from snn_cace.processes import start_data_worker

Batch = dict[str, torch.Tensor]
"""`visual` `[B, T, H, W, Cv]`, `audio` `[B, T, Ca]`, `labels` `[B, T, C + 1]`, `index` `[B]`, the rows on disk; and to
train under weak supervision, where the directory has them, `clip_labels` `[B, C + 1]`.
"""


ABSENT = {"both": None, "audio": "visual", "visual": "audio"}
"""Which modality is set to zero."""
HOST = torch.device("cpu")
SHOWN_BYTES = 1 << 28
"""Reading a file of this size or more shows its progress."""


class DecodedRows:
    """The rows of a dataset that keeps several in a chunk, each chunk decoded once, whatever the order of reading.

    They lie in an unnamed file of the cache directory, which goes with the process; without room there, every read
    decodes its chunk.
    """

    def __init__(self, dataset: h5py.Dataset, path: Path) -> None:
        self.dataset, self.path = dataset, path
        self.done = np.zeros(len(dataset), bool)
        self.values: np.ndarray | None
        try:
            flat = allocate((dataset.size * dataset.dtype.itemsize,), torch.uint8, "mapped", HOST)
            self.values = flat.numpy().view(dataset.dtype.newbyteorder("=")).reshape(dataset.shape)
        except InputError:
            self.values = None

    def read(self, row: int) -> np.ndarray:
        """One row; an InputError where its chunk cannot be read."""
        if self.values is None:
            return ave.read_values(self.dataset, row, self.path)
        if not self.done[row]:
            first = row - row % self.dataset.chunks[0]
            chunk = slice(first, min(first + self.dataset.chunks[0], len(self.dataset)))
            self.values[chunk] = ave.read_values(self.dataset, chunk, self.path)
            self.done[chunk] = True
        return self.values[row]


class ClipDataset(Dataset):
    """The clips of one split, kept at `keep_in` (see `DataConfig`), or read row by row as they are asked for (`disk`).

    HDF5 files are opened by the process that reads them, on its first read: handles cross neither fork nor spawn.
    Asking for a list of positions gives one batch. files: what a batch has, by name.

    Raises:
        InputError: on reading a row that is truncated, or holds NaN or infinity, or labels that are not one class a
            segment.
    """

    def __init__(
        self,
        directory: Path,
        rows: np.ndarray,
        dtype: torch.dtype,
        modalities: str = "both",
        keep_in: str = "disk",
        keep_as: str = "full",
        device: torch.device = HOST,
        files: dict[str, str] = ave.FILES,
    ) -> None:
        self.directory, self.rows, self.dtype, self.modalities = directory, rows, dtype, modalities
        self.files = files
        self.kept_dtype = kept_dtype(keep_as, dtype)
        self.place, self.device = keep_in, device
        self._files: dict[str, h5py.File] = {}
        self._decoded: dict[str, DecodedRows] = {}
        self._owner = 0
        self._held: Batch | None = None if keep_in == "disk" else self._read_whole()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([position]).items()}

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        if self._held is None:
            return self._read(positions)
        chosen = torch.tensor(positions, dtype=torch.long, device=self._held["index"].device)
        batch = {name: values[chosen] for name, values in self._held.items()}
        return {name: values if name == "index" else values.to(self.dtype) for name, values in batch.items()}

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_files": {}, "_decoded": {}, "_owner": 0}

    def _read(self, positions: Sequence[int]) -> Batch:
        rows = self.rows[list(positions)]
        batch = {name: self._read_file(name, rows) for name in self.files}
        absent = ABSENT[self.modalities]
        if absent:
            batch[absent].zero_()
        return batch | {"index": torch.from_numpy(rows)}

    def _read_whole(self) -> Batch:
        """All rows, each file read once from its beginning to its end in large pieces, whatever the order of rows and
        however the file is chunked.
        """
        places = np.argsort(self.rows, kind="stable")
        ordered = self.rows[places]
        held: Batch = {}
        for name, file in self.files.items():
            path = self.directory / file
            with ave.opened(path) as dataset:
                dtype = self.dtype if "labels" in name else self.kept_dtype
                values = allocate((len(self.rows), *dataset.shape[1:]), dtype, self.place, self.device)
                small = values.numel() * dataset.dtype.itemsize < SHOWN_BYTES
                pieces = list(ave.row_chunks(dataset))
                for piece in tqdm(pieces, desc=f"reading {file}", leave=False, disable=small or None):
                    first, last = np.searchsorted(ordered, (piece.start, piece.stop))
                    read = ave.read_some(dataset, piece, ordered[first:last], path)
                    if name == "labels":
                        ave.check_one_hot(read, ordered[first:last], path)
                    into = torch.from_numpy(places[first:last]).to(values.device)
                    values[into] = fitting(torch.from_numpy(read), dtype, path).to(values.device)
            held[name] = values
        absent = ABSENT[self.modalities]
        if absent:
            held[absent].zero_()
        return held | {"index": torch.from_numpy(self.rows).to(held["visual"].device)}

    def _read_file(self, name: str, rows: np.ndarray) -> torch.Tensor:
        path, dataset = self.directory / self.files[name], self._dataset(name)
        read: Callable[[int], np.ndarray] = partial(ave.read_values, dataset, path=path)
        if dataset.chunks and dataset.chunks[0] > 1:
            if name not in self._decoded:
                self._decoded[name] = DecodedRows(dataset, path)
            read = self._decoded[name].read
        values = torch.empty((len(rows), *dataset.shape[1:]), dtype=self.dtype)
        for position, row in enumerate(rows):
            found = read(int(row))
            ave.check_finite(found[None], row[None], path)
            if name == "labels":
                ave.check_one_hot(found[None], row[None], path)
            values[position] = torch.from_numpy(found)
        return values

    def _dataset(self, name: str) -> h5py.Dataset:
        if self._owner != os.getpid():
            self._files, self._decoded, self._owner = {}, {}, os.getpid()
        if name not in self._files:
            self._files[name] = ave.find_dataset(self.directory / self.files[name]).file
        file = self._files[name]
        return next(file[candidate] for candidate in ave.DATASET_NAMES if candidate in file)


class WithBackground(Dataset):
    """The clips of a split, and after them a directory's clips without any event, whose index goes on after `first`,
    the number of its other clips. They have the names in `labelled`, each as background, the last class.
    """

    def __init__(self, clips: ClipDataset, background: ClipDataset, first: int, labelled: Sequence[str]) -> None:
        self.clips, self.background, self.first, self.labelled = clips, background, first, labelled

    def __len__(self) -> int:
        return len(self.clips) + len(self.background)

    def __getitem__(self, position: int) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([position]).items()}

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        chosen = torch.tensor(positions)
        without = chosen >= len(self.clips)
        batch = self.clips.__getitems__(chosen[~without].tolist())
        added = self.background.__getitems__((chosen[without] - len(self.clips)).tolist())
        for name in self.labelled:
            added[name] = batch[name].new_zeros(len(added["index"]), *batch[name].shape[1:])
            added[name][..., -1] = 1
        added["index"] = added["index"] + self.first
        order = torch.cat([*(where.nonzero().flatten() for where in (~without, without))]).argsort()
        return {name: torch.cat([values, added[name]])[order.to(values.device)] for name, values in batch.items()}


def kept_dtype(keep_as: str, dtype: torch.dtype) -> torch.dtype:
    """What features are kept as that are used as `dtype`."""
    return {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(keep_as, dtype)


def fitting(values: torch.Tensor, dtype: torch.dtype, path: Path) -> torch.Tensor:
    """`values` `[...]` as `dtype`; an InputError where they are too large for it."""
    largest = float(values.abs().max()) if values.numel() else 0.0
    if largest > torch.finfo(dtype).max:
        raise InputError(
            f"{path}: {largest:g} is too large for {str(dtype).removeprefix('torch.')}; use data.keep_as: full"
        )
    return values.to(dtype)


def whole_batch(batch: Any) -> Batch:
    """`ClipDataset` makes batches itself; nothing is left to collate."""
    return batch


class BatchShare(BatchSampler):
    """Of every batch of `batch_size` positions, those at rank, rank + processes, and so on: each position is in exactly
    one process's share, and shares differ by one at most. The share of a small last batch may be empty.
    """

    def __init__(
        self, sampler: Sampler[int], batch_size: int, processes: int = 1, rank: int = 0, drop_last: bool = False
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.processes, self.rank = processes, rank

    def __iter__(self) -> Iterator[list[int]]:
        return (batch[self.rank :: self.processes] for batch in super().__iter__())


class ClipData(L.LightningDataModule):
    """Data loaders over an AVE directory, or over AV-Digits where the config names none.

    `evaluation_split` is what validation runs on during training: `val`, or `test` under the paper's protocol. device:
    what uses the clips, and may keep them; a trainer's own where one is attached. supervision: of the training that
    reads from it, if any, which alone has labels of clips and background clips.

    Raises:
        InputError: the directory does not hold AVE's layout, or a split has labels that are not one class a segment, or
            there are not the background clips that the config asks for, or too few clips for one full batch where only
            full ones are wanted.
    """

    def __init__(
        self,
        config: DataConfig,
        dtype: torch.dtype,
        seed: int = 0,
        evaluation_split: str = "val",
        device: torch.device = HOST,
        supervision: Supervision | None = None,
    ) -> None:
        super().__init__()
        self.device = device
        self.config, self.dtype, self.seed, self.evaluation_split = config, dtype, seed, evaluation_split
        self.directory = Path(config.directory) if config.directory else cached_avdigits(config.avdigits)
        self.layout = ave.read_layout(self.directory)
        ave.refuse_shared_rows(self.directory, self.layout)
        # Of every split, so that training does not end at the one it reads last.
        ave.check_labels(self.directory, np.concatenate([*self.layout.orders.values()]))
        self._datasets: dict[str, ClipDataset] = {}
        self.clip_labels = supervision == "weak" and ave.read_clip_labels(self.directory, self.layout) is not None
        wanted = supervision is not None and config.background_clips
        self.background = ave.background_clips(self.directory, self.layout) if wanted else 0
        clips = len(self.layout.orders["train"]) + self.background
        if supervision is not None and config.drop_last and clips < config.batch_size:
            raise InputError(f"data.drop_last: {clips} training clips are no full batch of {config.batch_size}")

    @property
    def shape(self) -> FeatureShape:
        return FeatureShape(self.layout.visual_channels, self.layout.audio_channels, self.layout.classes)

    @cached_property
    def place(self) -> str:
        """Where clips are kept: what the config says, or what all of them fit into."""
        if self.config.keep_in != "auto":
            return self.config.keep_in
        return choose_place(self.kept_bytes, self.used_on, self.config.workers)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the features of all clips as they are kept."""
        layout = self.layout
        of_a_segment = layout.height * layout.width * layout.visual_channels + layout.audio_channels
        clips = layout.clips + self.background
        return clips * layout.segments * of_a_segment * kept_dtype(self.config.keep_as, self.dtype).itemsize

    @property
    def used_on(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else self.device

    def dataset(self, split: str) -> ClipDataset:
        """The clips of `train`, `val`, `test`, or of `all` in their order on disk."""
        if split not in self._datasets:
            rows = np.arange(self.layout.clips) if split == "all" else self.layout.orders[split]
            labels = {"clip_labels": ave.CLIP_LABELS} if self.clip_labels and split == "train" else {}
            self._datasets[split] = self._read(rows, ave.FILES | labels)
        return self._datasets[split]

    def _read(self, rows: np.ndarray, files: dict[str, str]) -> ClipDataset:
        config = self.config
        return ClipDataset(
            self.directory, rows, self.dtype, config.modalities, self.place, config.keep_as, self.used_on, files
        )

    def training_clips(self) -> ClipDataset | WithBackground:
        """The clips that training draws from: its split, and background clips where the config asks for them."""
        clips = self.dataset("train")
        if not self.background:
            return clips
        background = self._read(np.arange(self.background), ave.BACKGROUND_FILES)
        return WithBackground(clips, background, self.layout.clips, [name for name in clips.files if "labels" in name])

    def loader(self, split: str, shared: bool = False) -> DataLoader:
        """Batches of a split in its order. shared: this process's share of them, where several train one network."""
        return self.batches(self.dataset(split), shared=shared)

    def batches(
        self,
        dataset: ClipDataset | WithBackground,
        shuffled: bool = False,
        shared: bool = False,
        drop_last: bool = False,
    ) -> DataLoader:
        """Batches of a data set. Shuffled, the order is a function of seed and epoch alone, whatever ran before."""
        # With one replica: batches, not clips, are what processes share.
        sampler = DistributedSampler(dataset, 1, 0, seed=self.seed) if shuffled else SequentialSampler(dataset)
        processes, rank = (self.trainer.world_size, self.trainer.global_rank) if shared and self.trainer else (1, 0)
        return DataLoader(
            dataset,
            batch_sampler=BatchShare(sampler, self.config.batch_size, processes, rank, drop_last),
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=torch.cuda.is_available() and self.place != "device",
            collate_fn=whole_batch,
            worker_init_fn=start_data_worker,
        )

    def train_dataloader(self) -> DataLoader:
        return self.batches(self.training_clips(), self.config.shuffle, shared=True, drop_last=self.config.drop_last)

    def val_dataloader(self) -> DataLoader:
        return self.loader(self.evaluation_split, shared=True)
