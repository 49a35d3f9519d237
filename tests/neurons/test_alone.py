"""`neurons` is a package of its own: it imports and names nothing of this project, and its README holds."""

from __future__ import annotations

import ast
import doctest
import re
import sys
import tomllib
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2] / "neurons"
FILES = sorted(ROOT.rglob("*.py"))
ELSEWHERE = re.compile(r"snn_?cace|cace-?net|braincog|audio|visual|firing_rate_weight|training\.", re.IGNORECASE)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_its_readme_gives_what_it_says():
    torch.manual_seed(0)
    found = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert found.attempted > 20 and found.failed == 0


def test_it_names_nothing_of_the_programs_that_use_it():
    named = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in [*FILES, ROOT / "README.md", ROOT / "pyproject.toml", ROOT / "__init__.pyi"]
        for line in path.read_text().splitlines()
        if ELSEWHERE.search(line)
    ]
    assert named == []


def test_it_imports_what_it_depends_on_alone():
    imported = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])
    needed = {re.split("[>=<]", requirement)[0] for requirement in project()["project"]["dependencies"]}
    brought = {"numpy", "triton"}  # by Numba, and by PyTorch where it has CUDA
    assert imported - set(sys.stdlib_module_names) - {"neurons"} - brought == needed


def test_its_wheel_has_every_package():
    packages = {
        ".".join(("neurons", *path.parent.relative_to(ROOT).parts)) for path in FILES if "build" not in path.parts
    }
    assert set(project()["tool"]["setuptools"]["packages"]) == packages
