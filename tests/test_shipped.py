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


def test_a_name_of_several_or_of_none_is_told_with_those_that_there_are():
    with pytest.raises(InputError, match=r"snn .* give avdigits/snn or ave/snn or "):
        find_config("snn", study=False)
    with pytest.raises(
        InputError, match=r"no shipped study of that name; there are: ablation/ .*; compare/ avdigits, "
    ):
        find_config("nothing", study=True)


def test_train_takes_a_name(capsys: pytest.CaptureFixture, tmp_path: Path):
    words = ["--output", str(tmp_path / "run"), "--training.epochs", "0"]
    assert main(["train", "--config", "avdigits/snn", *words]) == 2
    assert "training.epochs" in capsys.readouterr().err
    assert main(["train", "--config", "snn", *words[:2]]) == 2
    assert "avdigits/snn or ave/snn" in capsys.readouterr().err
