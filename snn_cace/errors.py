"""Errors in the input, which the command line tells in one line and exits 2 for."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from snn_cace.files import cache_directory


class InputError(Exception):
    """Bad input: the message names the file, key or shape at fault, what was expected, and what to do."""


def explained(error: BaseException) -> str | None:
    """What to say, in one line, of an error that is the user's to mend, whatever a library made of it; else None."""
    if isinstance(error, InputError):
        return str(error).strip()
    seen: BaseException | None = error
    while seen is not None:
        if "InvalidCxxCompiler" in str(seen):  # within an error of the compiler's, which does not chain it
            return "torch.compile needs a C++ compiler: install g++, name another in $CXX, or leave `compile` out"
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" for {seen.filename}" if seen.filename else ""
            return f"no space left on the disk{where}; make room and give the command again (train: with --resume)"
        if isinstance(seen, OSError) and seen.filename is not None:
            hint = cache_hint(str(seen.filename))
            if hint or seen.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return f"{seen.filename}: {str(seen.strerror).lower()}{hint}"
        seen = seen.__cause__ or seen.__context__
    return None


def did_you_mean(word: str, known: Iterable[str], dashes: str = "") -> str:
    """A hint at the known word that is most like `word`, or else at the dotted keys that end in it, each after
    `dashes`; nothing where none is.
    """
    known = list(known)
    meant = get_close_matches(word, known, 1, 0.7) or sorted(key for key in known if key.endswith(f".{word}"))
    return f"; did you mean {' or '.join(dashes + key for key in meant)}?" if meant else ""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def cache_hint(path: str) -> str:
    """What to do about a `path` of the cache directory, or above it, that cannot be used; nothing of any other."""
    given, cache = Path(path).absolute(), cache_directory().absolute()
    concerned = given.is_relative_to(cache) or cache.is_relative_to(given)
    return "; set SNN_CACE_CACHE to a directory that can be written" if concerned else ""
