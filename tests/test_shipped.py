"""Configs that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from snn_cace.cli import main
from snn_cace.errors import InputError
from snn_cace.shipped import CONFIGS, find_config


def test_a_name_is_a_shipped_config_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    study = CONFIGS / "compare" / "avdigits.yaml"
    for name in ("avdigits", "compare/avdigits", "configs/compare/avdigits.yaml"):
        assert find_config(name, study=True) == study
    assert find_config("ave/snn", study=False) == CONFIGS / "ave" / "snn.yaml"
    assert find_config("snn-causal", study=False) == CONFIGS / "avdigits" / "snn-causal.yaml"
    (tmp_path / "avdigits").write_text("")
    assert find_config("avdigits", study=True) == Path("avdigits")


def test_a_name_of_several_is_told_with_those_that_there_are():
    with pytest.raises(InputError, match=r"snn .* give avdigits/snn or ave/snn or "):
        find_config("snn", study=False)


@pytest.mark.parametrize(
    ("given", "study", "nearest"),
    [("avdigts", True, "avdigits"), ("configs/avdigits/sn.yaml", False, "avdigits/snn"), ("nothing", True, "")],
)
def test_of_a_name_of_none_the_three_nearest_are_told_and_where_all_are(given: str, study: bool, nearest: str):
    kind = "study" if study else "experiment"
    with pytest.raises(InputError) as told:
        find_config(given, study)
    start, names, where = str(told.value).split("; ")
    assert start == f"no config file {given}, and no shipped {kind} of that name"
    assert names.startswith(f"nearest are {nearest}") and names.count(",") == 2
    assert where == f"all: ls {CONFIGS}/*"


def test_train_takes_a_name(capsys: pytest.CaptureFixture, tmp_path: Path):
    words = ["--output", str(tmp_path / "run"), "--training.epochs", "0"]
    assert main(["train", "--config", "avdigits/snn", *words]) == 2
    assert "training.epochs" in capsys.readouterr().err
    assert main(["train", "--config", "snn", *words[:2]]) == 2
    assert "avdigits/snn or ave/snn" in capsys.readouterr().err
