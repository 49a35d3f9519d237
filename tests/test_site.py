"""The documentation's site in a browser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM, POOR_CONTRAST, Browser

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("index", "tutorials/fair-comparison", "reference/config", "reference/neurons")
STILL = "document.head.insertAdjacentHTML('beforeend', '<style>* { transition: none !important }</style>')"
SCHEME = "document.body.setAttribute('data-md-color-scheme', '{}')"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_pages_fit_a_phone_and_a_desk_can_be_read_and_ask_for_nothing(tmp_path: Path):
    pytest.importorskip("material")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    subprocess.run(build, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    with Browser(tmp_path / "profile") as page:
        for name in PAGES:
            for width in (390, 1400):
                page.open((tmp_path / "site" / f"{name}.html").as_uri(), width)
                page.run(STILL)
                assert page.run("document.documentElement.scrollWidth") <= width, name
                for scheme in ("default", "slate"):
                    page.run(SCHEME.format(scheme))
                    assert page.run(POOR_CONTRAST) == [], (name, width, scheme)
        assert page.messages == []
        assert [request for request in page.requests if not request.startswith(("file:", "data:"))] == []
