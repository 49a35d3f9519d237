"""The configs that come with the package, by name: `configs/` of the repository, a part of every wheel."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from snn_cace.errors import InputError

CONFIGS = Path(__file__).with_name("configs")
STUDIES = ("compare", "ablation")
"""Folders of `configs/` whose files name experiments; the others hold experiments."""


def find_config(given: str, study: bool) -> Path:
    """The file `given`, or else the shipped study or experiment of that name, with its folder or without.

    Raises:
        InputError: neither is there, or several shipped configs have that name.
    """
    if Path(given).is_file():
        return Path(given)
    every = sorted(CONFIGS.glob("*/*.yaml"), key=lambda file: (file.parent.name, file.stem))
    files = [file for file in every if (file.parent.name in STUDIES) == study]
    wanted = given.removeprefix("configs/").removesuffix(".yaml")
    named = [file for file in every if wanted in (file.stem, f"{file.parent.name}/{file.stem}")]
    found = [file for file in named if file in files]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"{file.parent.name}/{file.stem}" for file in found)
        raise InputError(f"{given} is no file, and the name of several shipped configs; give {names}")
    if named:
        raise InputError(other_kind(given, study))
    there = dict.fromkeys(f"{file.parent.name}/{file.stem}" if "/" in wanted else file.stem for file in files)
    names, kind = ", ".join(get_close_matches(wanted, there, 3, 0)), "study" if study else "experiment"
    raise InputError(
        f"no config file {given}, and no shipped {kind} of that name; nearest are {names}; all: ls {CONFIGS}/*"
    )


def other_kind(given: str, study: bool) -> str:
    """What to say of an experiment where a study was wanted, or the other way."""
    if study:
        return f"{given} is one experiment; train it with snn-cace train --config {given}"
    return f"{given} is a comparison of several experiments; run it with snn-cace compare --config {given}"
