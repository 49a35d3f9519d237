"""Batches of clips for the network, from any reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, Sampler, SequentialSampler
from tqdm import tqdm

from neurons.padding import within
from snn_cace.config import DataConfig, Supervision
from snn_cace.contracts import FeatureShape
from snn_cace.data.placement import allocate, choose_place
from snn_cace.data.readers import open_reader
from snn_cace.data.readers.base import Reader
from snn_cace.errors import InputError
from snn_cace.processes import start_data_worker

Batch = dict[str, torch.Tensor]
"""`visual` `[B, T, H, W, Cv]`, `audio` `[B, T, Ca]`, `labels` `[B, T, C + 1]`, `index` `[B]`, the rows; and to train
under weak supervision, where the data has them, `clip_labels` `[B, C + 1]`. Where clips are padded, `lengths` `[B]`.
"""


ABSENT = {"both": None, "audio": "visual", "visual": "audio"}
"""Which modality is set to zero."""
HOST = torch.device("cpu")
SHOWN_BYTES = 1 << 28
"""Reading an array of this size or more shows its progress."""
ARRAYS = {name: name for name in ("visual", "audio", "labels")}


def own_segments(batch: Batch) -> torch.Tensor | None:
    """Which segments are no padding, `[B, T]`; None where no clip is padded."""
    return within(batch["lengths"], batch["audio"].shape[1]) if "lengths" in batch else None


def without_padding(batch: Batch) -> Batch:
    """The same clips, each as far as the shortest of them goes, where some are padded."""
    if "lengths" not in batch:
        return batch
    segments = int(batch["lengths"].min())
    cut = {name: values[:, :segments] if name in ARRAYS else values for name, values in batch.items()}
    del cut["lengths"]
    return cut


class ClipDataset(Dataset):
    """The clips of one split, kept at `keep_in` (see `DataConfig`), or read row by row as they are asked for (`disk`).

    Asking for a list of positions gives one batch. arrays: what a batch has, by name, and what the reader calls it.

    Raises:
        InputError: on reading a row that is truncated, or holds NaN or infinity, or labels that are not one class a
            segment.
    """

    def __init__(
        self,
        reader: Reader,
        rows: np.ndarray,
        dtype: torch.dtype,
        modalities: str = "both",
        keep_in: str = "disk",
        keep_as: str = "full",
        device: torch.device = HOST,
        arrays: dict[str, str] = ARRAYS,
    ) -> None:
        self.reader, self.rows, self.dtype, self.modalities = reader, rows, dtype, modalities
        self.arrays = arrays
        self.kept_dtype = kept_dtype(keep_as, dtype)
        self.place, self.device = keep_in, device
        self._held: Batch | None = None if keep_in == "disk" else self._read_whole()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([position]).items()}

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        if self._held is None:
            batch = self._read(self.rows[list(positions)])
        else:
            chosen = torch.tensor(positions, dtype=torch.long, device=self._held["index"].device)
            batch = {name: values[chosen] for name, values in self._held.items()}
            batch |= {name: batch[name].to(self.dtype) for name in self.arrays}
        lengths = self.reader.layout.lengths
        if lengths is not None:
            rows = batch["index"]
            batch["lengths"] = torch.from_numpy(lengths[rows.cpu().numpy()]).to(rows.device)
        return batch

    def _read(self, rows: np.ndarray) -> Batch:
        batch = {
            name: torch.from_numpy(self.reader.checked(array, rows, self.reader.read(array, rows))).to(self.dtype)
            for name, array in self.arrays.items()
        }
        return self._indexed(batch, rows)

    def _indexed(self, arrays: Batch, rows: np.ndarray) -> Batch:
        """The arrays of rows with their index, zero in the modality that is left out."""
        absent = ABSENT[self.modalities]
        if absent:
            arrays[absent].zero_()
        return arrays | {"index": torch.from_numpy(rows).to(arrays["visual"].device)}

    def _read_whole(self) -> Batch:
        """All rows, each array read once in ascending order, whatever the order of rows."""
        places = np.argsort(self.rows, kind="stable")
        ordered = self.rows[places]
        held: Batch = {}
        for name, array in self.arrays.items():
            dtype = self.dtype if "labels" in name else self.kept_dtype
            shape = (len(self.rows), *self.reader.layout.row_shape(array))
            values = allocate(shape, dtype, self.place, self.device)
            small = values.numel() * values.itemsize < SHOWN_BYTES
            with tqdm(total=len(self.rows), desc=f"reading {array}", leave=False, disable=small or None) as bar:
                for piece, read in self.reader.scan_checked(array, ordered):
                    into = torch.from_numpy(places[piece]).to(values.device)
                    fitted = fitting(torch.from_numpy(read), dtype, self.reader.source(array))
                    values[into] = fitted.to(values.device)
                    bar.update(len(into))
            held[name] = values
        return self._indexed(held, self.rows)


class WithBackground(Dataset):
    """The clips of a split, and after them the data's clips without any event, whose index goes on after `first`,
    the number of its other clips. They have the names in `labelled`, each as background, the last class.
    """

    def __init__(self, clips: ClipDataset, background: ClipDataset, first: int, labelled: Sequence[str]) -> None:
        self.clips, self.background, self.first, self.labelled = clips, background, first, labelled

    def __len__(self) -> int:
        return len(self.clips) + len(self.background)

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
    """Data loaders over the data set that a config names.

    `evaluation_split` is what validation runs on during training: `val`, or `test` under the paper's protocol. device:
    what uses the clips, and may keep them; a trainer's own where one is attached. supervision: of the training that
    reads from it, if any, which alone has labels of clips and background clips.

    Raises:
        InputError: the reader refuses the data, or a split has labels that are not one class a segment, or there are
            not the background clips that the config asks for, or too few clips for one full batch where only
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
        self.reader = open_reader(config)
        self.directory, self.layout = self.reader.directory, self.reader.layout
        self.reader.refuse_shared_rows()
        # Of every split, so that training does not end at the one it reads last.
        self.reader.check_labels()
        self._datasets: dict[str, ClipDataset] = {}
        self.clip_labels = supervision == "weak" and self.reader.has_clip_labels()
        wanted = supervision is not None and config.background_clips
        self.background = self.reader.background_clips() if wanted else 0
        clips = len(self.layout.orders["train"]) + self.background
        if supervision is not None and config.drop_last and clips < config.batch_size:
            raise InputError(f"data.drop_last: {clips} training clips are no full batch of {config.batch_size}")

    @cached_property
    def shape(self) -> FeatureShape:
        layout, names = self.layout, tuple(self.reader.class_names()[:-1])
        channels = layout.visual_channels, layout.audio_channels
        return FeatureShape(*channels, layout.classes, self.reader.label_kind, names)

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
            labels = {"clip_labels": "clip_labels"} if self.clip_labels and split == "train" else {}
            self._datasets[split] = self._read(rows, ARRAYS | labels)
        return self._datasets[split]

    def _read(self, rows: np.ndarray, arrays: dict[str, str]) -> ClipDataset:
        config = self.config
        return ClipDataset(
            self.reader, rows, self.dtype, config.modalities, self.place, config.keep_as, self.used_on, arrays
        )

    def training_clips(self) -> ClipDataset | WithBackground:
        """The clips that training draws from: its split, and background clips where the config asks for them."""
        clips = self.dataset("train")
        if not self.background:
            return clips
        background = self._read(
            np.arange(self.background), {name: f"background_{name}" for name in ("visual", "audio")}
        )
        return WithBackground(clips, background, self.layout.clips, [name for name in clips.arrays if "labels" in name])

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
