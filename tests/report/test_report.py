"""The report's words and page, from a comparison.json that is small and kept with the tests."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from snn_cace.cli import main
from snn_cace.report.comparison import config_differences, table_rows, write_report
from snn_cace.report.words import accuracy_sentence, break_even_sentence, cautions, change, conclusions, headline, notes

SAMPLE = Path(__file__).parent / "comparison.json"
BROWSER = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--enable-logging=stderr",
)


@pytest.fixture
def result() -> dict[str, Any]:
    return json.loads(SAMPLE.read_text())


def written(result: dict[str, Any], directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    (directory / "comparison.json").write_text(json.dumps(result))
    write_report(directory / "comparison.json", directory)
    return (directory / "report.html").read_text()


def test_a_difference_is_only_called_one_where_it_is_shown():
    test = {"a": "snn", "b": "ann", "difference": 2.5, "ci95": [1.0, 4.0], "p_holm": 0.0004, "shown": True}
    assert accuracy_sentence(test) == (
        "snn is 2.50 points more accurate than ann (95 % interval +1.00 to +4.00; Holm-corrected p < 0.001)."
    )
    assert "2.50 points less accurate" in accuracy_sentence({**test, "difference": -2.5})
    unsure = accuracy_sentence({**test, "ci95": [-1.0, 6.0], "p_holm": 0.2, "shown": False})
    assert unsure.startswith("No difference in accuracy shown between snn and ann: +2.50 points")


def test_changes_are_percent_of_the_other():
    assert [change(*pair) for pair in ((90, 100), (125, 100), (100, 100))] == ["10.0 % less", "25.0 % more", "the same"]


def test_a_block_that_never_pays_is_said_to(result: dict[str, Any]):
    snn = next(variant for variant in result["variants"] if variant["kind"] == "snn")
    point = {"rate": None, "verdict": "never"}
    snn["break_even"]["points"] = dict.fromkeys(snn["break_even"]["points"], point)
    assert "it costs more even if it never fires (arithmetic alone)" in break_even_sentence(snn, ["compute"])


def test_the_summary_says_how_much_spikes_could_save_at_most(result: dict[str, Any]):
    ann = next(variant for variant in result["variants"] if variant["kind"] == "ann")
    share = 100 * ann["spiking_blocks"]["energy_mj"]["compute"] / ann["energy_mj"]["compute"]
    assert any(f"The compared slots are {share:.1f} % (arithmetic alone)" in line for line in conclusions(result))


def test_the_costliest_part_beside_the_slots_is_named_with_its_share(result: dict[str, Any]):
    ann = next(variant for variant in result["variants"] if variant["kind"] == "ann")
    spent = sum(m["energy_mj"]["compute"] for m in ann["modules"] if m["name"].startswith("guidance."))
    share = 100 * spent / ann["energy_mj"]["compute"]
    assert any(f"guidance takes most: {share:.1f} % (arithmetic alone)" in line for line in conclusions(result))


def test_measured_joules_and_modules_that_never_ran_are_told_where_there_are_any(result: dict[str, Any]):
    assert not any("own meter" in line for line in conclusions(result))
    assert not any("Never ran" in line for line in notes(result))
    ann, snn = result["variants"]
    ann["joules_per_clip"], snn["joules_per_clip"], snn["idle_modules"] = 0.2, 0.3, ["head.spare"]
    assert any(
        "meter says 300 mJ per clip" in line and "1.50 times small-dense's 200" in line for line in conclusions(result)
    )
    assert "Never ran in small-spiking while operations were counted: head.spare." in notes(result)


def test_few_seeds_and_the_paper_s_protocol_are_cautioned_against(result: dict[str, Any]):
    assert any("Only 2 seeds" in line for line in cautions(result))
    result["protocol"] = "paper"
    assert any("picked on the test split" in line for line in cautions(result))


def test_the_page_shows_every_section_figure_and_source_and_needs_nothing_else(result: dict[str, Any], tmp_path: Path):
    page = written(result, tmp_path)
    for title in (
        "What may be concluded",
        "Accuracy and energy",
        "Simulation steps",
        "Firing",
        "Classes",
        "Rasters",
        "Training",
        "Operations by module",
        "Configs",
        "How it was made",
    ):
        assert f">{title}</h2>" in page
    assert page.count("<svg") == 9 + 1
    assert all(price["source"].split(":")[0].replace("'", "&#39;") in page for price in result["prices"])
    assert headline(result).replace("'", "&#39;") in page
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!\#)([^"']+)""", page)
    assert all(target.startswith("data:image/png;base64,") for target in outside)
    assert "@import" not in page and "<script" not in page and "<link" not in page


def test_figures_take_the_page_s_colour(result: dict[str, Any], tmp_path: Path):
    page = written(result, tmp_path)
    assert "currentColor" in page
    assert "#26282b" not in page
    for name in ("accuracy-energy", "confusion", "steps"):
        assert "currentColor" not in (tmp_path / "figures" / f"{name}.svg").read_text()


def test_a_missing_variant_a_lone_ann_and_a_lone_snn_still_make_a_page(result: dict[str, Any], tmp_path: Path):
    ann, snn = result["variants"]
    failure = {"variant": "other", "seed": 0, "reason": "the loss is nan"}
    for name, kept in (("ann", [ann]), ("snn", [snn])):
        part = copy.deepcopy(result)
        part["variants"], part["tests"], part["failed"] = copy.deepcopy(kept), [], [failure]
        part["runs"] = [run for run in part["runs"] if run["variant"] == kept[0]["name"]]
        part["baseline"] = kept[0]["name"]
        if name == "snn":
            part["dense_opponent"] = None
            part["variants"][0] |= {"break_even": None, "opponent": None, "replaced_blocks_energy_mj": None}
        page = written(part, tmp_path / name)
        assert "other, seed 0, failed and is left out: the loss is nan" in page
        assert table_rows(part)[-1][:2] == ["other", "failed"]


def test_configs_differ_in_what_they_differ_in(result: dict[str, Any]):
    rows = config_differences(result["variants"])
    assert ["model.slots.temporal_encoder.block", "dense", "spiking"] in rows
    assert not any(key == "training.epochs" for key, *_ in rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file"),
        ("{", "is not JSON"),
        ("{}", "has no 'variants'"),
        ("[]", "has no 'variants'"),
    ],
)
def test_what_is_no_comparison_is_refused(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    if content is not None:
        (tmp_path / "comparison.json").write_text(content)
    words = ["report", "--comparison", str(tmp_path / "comparison.json"), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess:
    assert BROWSER is not None
    return subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_browser_shows_it_wide_narrow_and_dark_without_a_word_on_the_console(result: dict[str, Any], tmp_path: Path):
    """Frames of 1200 and 390 pixels: nothing may be wider than its frame, but inside a box that scrolls; and the text
    contrasts with its background in both colour schemes.
    """
    written(result, tmp_path)
    probe = tmp_path / "probe.html"
    probe.write_text(
        "<!doctype html><body><script>"
        "const found = []; let open = 2;"
        "for (const width of [1200, 390]) {"
        "  const frame = document.createElement('iframe');"
        "  frame.width = width; frame.height = 900; frame.src = 'report.html';"
        "  frame.onload = () => { const page = frame.contentDocument; const style = frame.contentWindow"
        "      .getComputedStyle(page.body);"
        "    found.push([width, page.documentElement.scrollWidth, page.querySelectorAll('svg').length, style.color,"
        "      style.backgroundColor]);"
        "    if (--open === 0) document.title = JSON.stringify(found); };"
        "  document.body.append(frame); }"
        "</script></body>"
    )
    for scheme in ("light", "dark"):
        flags = ["--dump-dom", "--virtual-time-budget=10000"]
        if scheme == "dark":
            flags.append("--blink-settings=preferredColorScheme=0")
        shown = browse(probe, tmp_path / scheme, *flags)
        assert "CONSOLE" not in shown.stderr
        title = re.search(r"<title>(.*?)</title>", shown.stdout)
        assert title is not None, shown.stderr
        for width, needed, drawings, ink, paper in json.loads(title.group(1)):
            assert needed <= width, scheme
            assert drawings == 10
            assert abs(brightness(ink) - brightness(paper)) > 0.6, (scheme, ink, paper)
            assert (brightness(paper) > 0.5) == (scheme == "light")


def brightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / (3 * 255)
