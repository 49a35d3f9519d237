"""Where the cache lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from snn_cace.files import cache_directory

HOME = Path("/somewhere")


@pytest.mark.parametrize(
    ("own", "xdg", "wanted"),
    [
        (None, None, HOME / ".cache" / "snn_cace"),
        ("", "", HOME / ".cache" / "snn_cace"),
        (None, "relative/cache", HOME / ".cache" / "snn_cace"),
        (None, ".", HOME / ".cache" / "snn_cace"),
        ("", "/xdg", Path("/xdg/snn_cace")),
        ("/own", "/xdg", Path("/own")),
        ("own", "", Path("own")),
    ],
)
def test_an_empty_variable_is_as_if_unset_and_a_relative_xdg_directory_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, own: str | None, xdg: str | None, wanted: Path
):
    monkeypatch.setenv("HOME", str(HOME))
    for name, value in (("SNN_CACE_CACHE", own), ("XDG_CACHE_HOME", xdg)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    assert cache_directory() == wanted
