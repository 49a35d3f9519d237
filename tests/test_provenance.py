"""Which revision made a figure."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from snn_cace import provenance

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout")
def test_a_checkout_says_its_revision_and_a_package_elsewhere_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (provenance.revision() or "").rstrip("+") == said.stdout.strip()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "snn_cace" / "provenance.py"))
    assert provenance.revision() is None
