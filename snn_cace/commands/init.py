"""The verb `init`."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

from snn_cace.config import check_file_name
from snn_cace.errors import InputError
from snn_cace.files import write_text

TEMPLATES = Path(__file__).parents[1] / "templates"


def init(directory: str, /, data: str | None = None) -> None:
    """Write a commented ANN, SNN and comparison, to change and run.

    Args:
        directory: to write into; new, or empty.
        data: a directory in AVE's layout; the embedded data set AV-Digits where it is left out.
    """
    path = Path(directory)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise InputError(f"{directory} is not empty; give a fresh directory")
    name = path.resolve().name
    check_file_name(name)
    source = "avdigits"
    if data is not None:
        from snn_cace.data.ave import read_layout

        read_layout(data)
        source, data = "directory", str(Path(data).resolve())
    words = {
        "name": json.dumps(name, ensure_ascii=False),
        "data": json.dumps(data, ensure_ascii=False),
        "title": name,
        "clips": f"the clips of `{data}`" if data else "the embedded data set AV-Digits",
    }
    templates = {"ann.yaml": f"ann-{source}.yaml"} | {file: file for file in ("snn.yaml", "compare.yaml", "README.md")}
    for file, template in templates.items():
        write_text(path / file, Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(words))
    print(f"{path / 'README.md'} has the commands that run {', '.join(list(templates)[:3])}")
