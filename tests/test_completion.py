"""Tab in bash: verbs, options and their values."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from snn_cace.cli import main

TAB = """source "$1"; shift
COMP_WORDS=(snn-cace "$@"); COMP_CWORD=$#; COMP_LINE="snn-cace $*"; COMPREPLY=()
_shtab_snn_cace 2>/dev/null; echo "${COMPREPLY[@]}"
"""


def test_tab_completes_verbs_options_and_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    pytest.importorskip("shtab")
    assert main(["--completion", "bash"]) == 0
    (tmp_path / "completion.sh").write_text(capsys.readouterr().out)
    (tmp_path / "study.yaml").touch()
    monkeypatch.chdir(tmp_path)

    def completed(*words: str) -> list[str]:
        words = ("bash", "--norc", "-c", TAB, "bash", "./completion.sh", *words)
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    assert completed("imp") == ["import-reference"]
    assert completed("data", "ch") == ["check"]
    assert completed("train", "--model.guid") == ["--model.guidance", "--model.guidance_dropout"]
    assert completed("train", "--model.guidance", "a") == ["audio"]
    assert completed("train", "--model.spiking.node", "al") == ["alif"]
    assert completed("compare", "--config", "stu") == ["study.yaml"]
    assert "--data" in completed("evaluate", "--dat")


def test_another_shell_is_refused(capsys: pytest.CaptureFixture):
    assert main(["--completion", "fish"]) == 2
    assert capsys.readouterr().err == "snn-cace: --completion: fish is given, and only bash is known; give bash\n"
