"""The wheel alone, beside the packages that it needs: no repository to import from, neither Numba nor torchvision."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(numpy.__file__).parents[1]
CLIPS = [word for name in ("train", "val", "test") for word in (f"--data.avdigits.{name}_clips", "16")]
SMALL = ["--model.d_model", "8", "--model.heads", "2", "--model.visual_dim", "8", "--model.attention_dim", "8"]
NOT_NEEDED = ("numba", "llvmlite", "torchvision", "snn_cace", "__editable__", "__pycache__")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Where the wheel is installed, and an environment that finds it and other packages, but no site-packages."""
    if int(version("setuptools").partition(".")[0]) < 77:
        pytest.skip("a wheel is built by setuptools 77 or later: make install")
    root = tmp_path_factory.mktemp("wheel")
    for folder in ("snn_cace", "neurons", "configs"):
        shutil.copytree(ROOT / folder, root / "source" / folder, symlinks=True)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, root / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", root, root / "source"], check=True)
    (wheel,) = root.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", root / "installed", wheel], check=True)
    (root / "others").mkdir()
    for package in SITE.iterdir():
        if not package.name.startswith(NOT_NEEDED) and package.suffix != ".pth":
            (root / "others" / package.name).symlink_to(package)
    paths = os.pathsep.join([str(root / "installed"), str(root / "others")])
    return root / "installed", os.environ | {"PYTHONPATH": paths, "SNN_CACE_CACHE": str(root / "cache")}


def without_site(*words: str | Path, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-S", *words], cwd=cwd, env=env, capture_output=True, text=True)


@pytest.mark.slow
def test_the_wheel_compares_shipped_networks_from_any_directory(installed: tuple[Path, dict[str, str]], tmp_path: Path):
    directory, env = installed
    study = ["compare", "--config", "avdigits", "--seeds", "0", "--training.epochs", "1", "--jobs", "1"]
    done = without_site(directory / "bin" / "snn-cace", *study, *CLIPS, *SMALL, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "runs" / "avdigits" / "comparison.json").read_text())
    assert [variant["name"] for variant in result["variants"]][:2] == ["ann", "snn"]
    assert (tmp_path / "runs" / "avdigits" / "report.html").is_file()


@pytest.mark.slow
def test_the_core_is_imported_without_numba_or_torchvision(installed: tuple[Path, dict[str, str]], tmp_path: Path):
    directory, env = installed
    code = (
        "from importlib.util import find_spec; import snn_cace.comparison.run as core;"
        "print(core.__file__, find_spec('numba'), find_spec('torchvision'))"
    )
    done = without_site("-c", code, cwd=tmp_path, env=env)
    assert (directory / "snn_cace" / "templates" / "compare.yaml").is_file()
    assert done.stdout.split() == [str(directory / "snn_cace" / "comparison" / "run.py"), "None", "None"], done.stderr
