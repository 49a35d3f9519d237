"""Videos in ZIP archives or Parquet files, as AVE is mirrored, written out as a folder of files.

ZIP: `AVE_Dataset.zip`, with its videos and `Annotations.txt`, in folders or not. Parquet: a row a video, in a column of
bytes, or one of `bytes` and `path` as Hugging Face's `datasets` writes its videos; annotations lie beside it.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from snn_cace.data import ave
from snn_cace.errors import InputError, one_line
from snn_cace.files import replacing

ENDINGS = (".zip", ".parquet")
TEXTS = (".txt", ".csv", ".md", ".json", "")
"""What may lie beside archives; a folder with anything else is one of videos."""
NAMES = ("video_id", "id", "youtube_id", "file_name", "filename", "name", "path")
"""Columns that may hold a video's name."""
SPLITS = ("trainSet.txt", "valSet.txt", "testSet.txt")
ROWS = 4
"""Of a Parquet file, held at a time."""


def archives_in(source: Path) -> list[Path]:
    """The archives that hold the videos of `source`, a file or a folder with nothing else; none of a folder of
    videos.
    """
    if source.suffix.lower() in ENDINGS:
        return [source]
    files = [file for file in sorted(source.rglob("*")) if file.is_file()] if source.is_dir() else []
    found = [file for file in files if file.suffix.lower() in ENDINGS]
    others = {file.suffix.lower() for file in files if not file.name.startswith(".")} - {*ENDINGS, *TEXTS}
    return [] if others else found


def unpacked(source: Path, into: Path) -> Path:
    """The folder of videos and annotations: `source` itself, or `into`, where its archives are written out. Videos that
    are there already stay as they are; texts beside the archives are copied anew.

    Raises:
        InputError: an archive that is missing or damaged, or files of the same name in it.
    """
    archives = archives_in(source)
    if not archives:
        return source
    missing = next((archive for archive in archives if not archive.is_file()), None)
    if missing is not None:
        raise InputError(f"no file {missing}")
    names: set[str] = set()
    for archive in archives:
        members = of_zip(archive) if archive.suffix.lower() == ".zip" else of_parquet(archive)
        while member := within_archive(archive, partial(next, members, None)):
            name, content = member
            if name in names:
                raise InputError(f"{archive}: {name} is there twice; unpack it, and give the folder")
            names.add(name)
            path = into / (ave.ANNOTATIONS if name.lower() == ave.ANNOTATIONS.lower() else name)
            if not path.exists():
                write_bytes(path, within_archive(archive, content.read))
    for text in (source if source.is_dir() else source.parent).glob("*.txt"):
        known = [ave.ANNOTATIONS, *SPLITS]
        name = next((one for one in known if one.lower() == text.name.lower()), None)
        if name and text.is_file():
            write_bytes(into / name, text.read_bytes())
    return into


def within_archive(archive: Path, read: Callable[[], Any]) -> Any:
    """What `read` finds in an archive; whatever its library raises is one line."""
    try:
        return read()
    except InputError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError) as error:
        encrypted = "password" in str(error)
        advice = "unpack it, and give the folder" if encrypted else "download it again"
        raise InputError(f"{archive} cannot be read ({one_line(error)[:120]}); {advice}") from None


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def of_zip(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names, without folders, and contents."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            path = PurePosixPath(member.filename)
            if not member.is_dir() and not path.name.startswith(".") and "__MACOSX" not in path.parts:
                yield path.name, opened.open(member)


def of_parquet(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the videos in its rows."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{archive} needs pyarrow; install it with: pip install 'snn-cace[parquet]'") from None
    with parquet.ParquetFile(archive) as opened:
        video, name = columns(opened.schema_arrow, archive)
        for batch in opened.iter_batches(batch_size=ROWS, columns=[video, *([name] if name else [])]):
            for row in batch.to_pylist():
                held = row[video] if isinstance(row[video], dict) else {"bytes": row[video]}
                given = row[name] if name else held.get("path")
                called = PurePosixPath("" if given is None else str(given))
                if not called.name or held.get("bytes") is None:
                    raise InputError(f"{archive}: a row has no name, or no bytes of a video")
                yield called.name if called.suffix else f"{called.name}.mp4", io.BytesIO(held["bytes"])


def columns(schema: Any, archive: Path) -> tuple[str, str | None]:
    """The column of videos, and that of their names; None where the videos have a path.

    Raises:
        InputError: no such columns.
    """
    from pyarrow import types

    def holds_bytes(kind: Any) -> bool:
        inner = kind.field("bytes").type if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
        return types.is_binary(inner) or types.is_large_binary(inner)

    video = next((field.name for field in schema if holds_bytes(field.type)), None)
    name = next((given for given in NAMES if given in schema.names and given != video), None)
    named = name or (video and types.is_struct(schema.field(video).type))
    if video is None or not named:
        raise InputError(
            f"{archive}: no column of videos' bytes with their names ({', '.join(NAMES)}); it has "
            f"{', '.join(schema.names)}"
        )
    return video, name
