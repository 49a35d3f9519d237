"""Where clips are kept while a network trains on them: on its device, in memory, in a mapped file, or nowhere."""

from __future__ import annotations

import tempfile
from math import prod

import numpy as np
import psutil
import torch

from snn_cace.errors import InputError
from snn_cace.files import cache_directory

SPARED = 2
"""Clips are kept where there is room for so many times their size."""


def choose_place(size: int, device: torch.device, workers: int) -> str:
    """Where `size` bytes of clips are kept where the config leaves it open: `device`, `memory` or `mapped`."""
    if device.type == "cuda" and not workers and SPARED * size < torch.cuda.mem_get_info(device)[0]:
        return "device"
    return "memory" if SPARED * size < psutil.virtual_memory().available else "mapped"


def allocate(shape: tuple[int, ...], dtype: torch.dtype, place: str, device: torch.device) -> torch.Tensor:
    """An empty tensor at `place`. A mapped one lies in a file of the cache directory that has no name any more: it goes
    when the process does, however that ends.

    Raises:
        InputError: the cache directory takes no file of that size.
    """
    if place != "mapped":
        return torch.empty(shape, dtype=dtype, device=device if place == "device" else "cpu")
    directory = cache_directory()
    size = prod(shape) * dtype.itemsize
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            if psutil.disk_usage(str(directory)).free < size:
                raise OSError(f"{size} bytes are more than are free")
            mapped = np.memmap(file, np.uint8, "w+", shape=(size,))
    except OSError as error:
        raise InputError(
            f"cannot map {size / 2**30:.1f} GiB of clips in {directory}: {error}; set SNN_CACE_CACHE to another "
            "directory, or use data.keep_in: disk"
        ) from None
    return torch.from_numpy(mapped).view(dtype).view(shape)
