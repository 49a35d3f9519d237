"""The data sets that there are, one file each. A config may also name a `Reader` from elsewhere, as
`package.module:Class`. Nothing here needs torch or h5py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cace.errors import InputError
from snn_cace.networks.spec import imported_class

if TYPE_CHECKING:
    from snn_cace.config import DataConfig
    from snn_cace.data.readers.base import Reader

READERS = {
    "ave": "snn_cace.data.readers.ave:AveReader",
    "avdigits": "snn_cace.data.readers.avdigits:AVDigitsReader",
    "avel": "snn_cace.data.readers.avel:AvelReader",
    "cremad": "snn_cace.data.readers.cremad:CremadReader",
    "llp": "snn_cace.data.readers.llp:LlpReader",
    "unav": "snn_cace.data.readers.unav:UnavReader",
    "urbansound": "snn_cace.data.readers.urbansound:UrbanSoundReader",
}


def reader_name(config: DataConfig) -> str:
    """What reads the clips: `data.reader`, or AVE's layout where there is a directory, AV-Digits where there is none.

    Raises:
        InputError: there is none of this name.
    """
    name = config.reader or ("ave" if config.directory else "avdigits")
    if name not in READERS and ":" not in name:
        raise InputError(f"data.reader: no reader '{name}'; give {', '.join(READERS)}, or package.module:Class")
    return name


def open_reader(config: DataConfig) -> Reader:
    """The data set that a config names, its sizes and splits checked.

    Raises:
        InputError: what is imported by its name is no reader, or it refuses what it finds.
    """
    from snn_cace.data.readers.base import Reader

    name = reader_name(config)
    return imported_class("data.reader", READERS.get(name, name), Reader)(config)


def data_title(config: DataConfig) -> str:
    """What pages call the data: its directory, or where there is none, its reader."""
    if config.directory:
        return config.directory
    name = reader_name(config)
    return "AV-Digits" if name == "avdigits" else name.rpartition(":")[2]
