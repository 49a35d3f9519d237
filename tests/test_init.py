"""What `init` writes runs as it is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from small import write_ave

from snn_cace.cli import main
from snn_cace.config import Experiment, dotted, read_config, with_base

SMALL = ["--model.d_model", "8", "--model.heads", "2", "--model.visual_dim", "8", "--model.attention_dim", "8"]
CLIPS = [word for name in ("train", "val", "test") for word in (f"--data.avdigits.{name}_clips", "12")]


def commands(readme: Path) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^snn-cace .*", readme.read_text(), re.MULTILINE)]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
@pytest.mark.parametrize("data", [True, False], ids=["directory", "avdigits"])
def test_the_commands_of_the_readme_run(data: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_ave(tmp_path / "ave")
    assert main(["init", "my study", *(["--data", "ave"] if data else [])]) == 0
    monkeypatch.chdir(tmp_path / "my study")
    *runs, full, attempt = commands(Path("README.md"))
    assert full[:3] == ["compare", "--config", "compare.yaml"]
    for words in runs if data else [*runs, attempt]:
        changes = [] if words[0] == "spikes" else SMALL if data else [*SMALL, *CLIPS]
        if words[0] == "train":
            changes = [*changes, "--training.epochs", "1", "--quiet"]
        assert main([*words, *changes]) == 0
    assert json.loads(Path("runs/snn/metrics.json").read_text())["best_epoch"] == 0
    if not data:
        result = json.loads(Path("runs/try/comparison.json").read_text())
        assert [variant["name"] for variant in result["variants"]][:2] == ["ann", "snn"]


def test_the_embedded_experiments_are_the_shipped_ones(tmp_path: Path):
    assert main(["init", str(tmp_path / "new")]) == 0
    for name in ("ann", "snn"):
        shipped = Path(__file__).parents[1] / "configs" / "avdigits" / f"{name}.yaml"
        assert read_config(tmp_path / "new" / f"{name}.yaml", Experiment) == read_config(shipped, Experiment)


def test_the_settings_for_own_data_are_the_defaults(tmp_path: Path):
    data = write_ave(tmp_path / "ave: 1")
    assert main(["init", str(tmp_path / "new"), "--data", str(data)]) == 0
    given = dotted(with_base(tmp_path / "new" / "ann.yaml", Experiment))
    expected = dotted(with_base(Path(__file__).parents[1] / "configs" / "ave" / "ann.yaml", Experiment))
    assert given.pop("data.directory") == str(data)
    assert all(given[key] == expected[key] for key in given.keys() & expected.keys() - {"training.seed"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["full"], "full is not empty; give a fresh directory"),
        (["full/file"], "full/file is not empty; give a fresh directory"),
        (["new", "--data", "nowhere"], "no directory nowhere"),
        ([], "init"),
    ],
)
def test_nothing_is_written_where_something_is_or_the_data_are_not(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/file").touch()
    assert main(["init", *words]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full"]
