"""The report's words and page, from a comparison.json that is small and kept with the tests."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, POOR_CONTRAST, Browser
from matplotlib.image import imread

from snn_cace.cli import main
from snn_cace.report.comparison import NEEDED, in_present_terms, write_report
from snn_cace.report.conclusions import accuracy_words, cautions, change, change_range, limits, notes, sentences
from snn_cace.report.figures import against_steps, firing_rates, save
from snn_cace.report.interactive import chain_verdict, energy_words, last_steps, verdict_of
from snn_cace.report.tables import (
    attribution_table,
    config_differences,
    count_table,
    energy_table,
    health_table,
    module_table,
    result_table,
    summary_table,
)

SAMPLE = Path(__file__).parent / "comparison.json"
BEFORE_CONTROLS = Path(__file__).parent / "comparison-3481e5b.json"


@pytest.fixture
def result() -> dict[str, Any]:
    return in_present_terms(json.loads(SAMPLE.read_text()))


def written(result: dict[str, Any], directory: Path) -> str:
    directory.mkdir(exist_ok=True)
    (directory / "comparison.json").write_text(json.dumps(result))
    write_report(directory / "comparison.json", directory)
    return (directory / "report.html").read_text()


TEST = {"a": "snn", "b": "ann", "difference": 2.5, "ci95": [1.0, 4.0], "p_holm": 0.0004, "shown": True}


def test_a_difference_is_only_called_one_where_it_is_shown():
    assert accuracy_words(TEST, 5) == (
        "snn is 2.50 points more accurate than ann (95 % interval +1.00 to +4.00; Holm-corrected p < 0.001)"
    )
    assert "2.50 points less accurate" in accuracy_words({**TEST, "difference": -2.5}, 5)
    unsure = accuracy_words({**TEST, "ci95": [-1.0, 6.0], "p_holm": 0.2, "shown": False}, 5)
    assert unsure.startswith("No difference in accuracy shown between snn and ann: +2.50 points")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("seeds", [1, 2, 3, 4])
def test_fewer_than_five_seeds_never_say_better_or_worse(result: dict[str, Any], tmp_path: Path, seeds: int):
    for variant in result["variants"]:
        variant["seeds"] = list(range(seeds))
    for test in result["tests"]:
        test |= {"shown": True, "difference": 20.0, "ci95": [10.0, 30.0], "p_holm": 1e-6}
    page = written(result, tmp_path)
    for text in (page, (tmp_path / "comparison.md").read_text(), *sentences(result)):
        assert not re.search(r"(more|less|most|least) accurate|better|worse|No difference", text)
    assert "too few to conclude from" in page


def test_changes_are_percent_of_the_other():
    assert [change(*pair) for pair in ((90, 100), (125, 100), (100, 100))] == ["10.0 % less", "25.0 % more", "the same"]
    assert change_range([0.9, 0.94]) == "6.0 to 10.0 % less"
    assert change_range([1.1, 1.04]) == "4.0 to 10.0 % more"
    assert change_range([0.9, 1.04]) == "from 10.0 % less to 4.0 % more"
    assert change_range([0.9, 1.0]) == "from 10.0 % less to the same"


def test_the_result_is_one_row_for_each_variant_and_one_number_a_cell(result: dict[str, Any]):
    rows = result_table(result)
    assert [row["variant"] for row in rows] == ["small-dense", "small-spiking-rectified", "small-spiking"]
    assert [row["variant"] for row in rows] == [row["network"] for row in summary_table(result)]
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert all(re.fullmatch(r"[\d.]+", cell) for row in rows for cell in [*row.values()][1:])
    ann = result["variants"][0]
    assert rows[0]["test accuracy, %"] == f"{ann['test_segment_accuracy']['mean']:.2f}"
    assert rows[0]["energy, µJ: arithmetic"] == f"{1000 * ann['best']['compute']['mean']:.3g}"


def test_a_chain_s_links_add_up_to_the_whole_and_only_the_last_speaks_of_spikes(result: dict[str, Any]):
    (found,) = result["attribution"]
    whole = found["whole"]
    accuracy = [link["accuracy"]["difference"] for link in found["links"]]
    assert sum(accuracy) == pytest.approx(whole["accuracy"]["difference"])
    for model in result["variants"][0]["best"]:
        energies = [link["energy"][model]["difference_mj"] for link in found["links"]]
        assert sum(energies) == pytest.approx(whole["energy"][model]["difference_mj"])
    assert [link["part"] for link in found["links"]] == ["shape and norm", "memory, bits and spikes"]
    assert [row["step"] for row in attribution_table(result)] == [
        "small-dense to small-spiking-rectified",
        "small-spiking-rectified to small-spiking",
        "small-dense to small-spiking",
    ]
    said = sentences(result)
    assert said[0].startswith(
        "Of the +0.0 points from small-dense to small-spiking, -8.3 come from shape and norm and "
    )
    assert said[2].startswith("Memory, bits and spikes together: small-spiking measured +8.33 points against ")


def test_each_network_stands_at_the_count_in_which_it_costs_least(result: dict[str, Any]):
    for variant in result["variants"]:
        for model, best in variant["best"].items():
            by_count = {name: counted["energy_mj"][model] for name, counted in variant["counts"].items()}
            assert best["mean"] == pytest.approx(min(by_count.values())) == pytest.approx(by_count[best["count"]])
    ann = {row["count"] for row in count_table(result) if row["variant"] == "small-dense"}
    assert ann == {"event-driven, conservative", "zero-skipping"}
    rows = module_table(result["variants"][1])
    assert rows[-1]["module"] == "sum"
    rows = energy_table(result)
    assert {row["energy model"] for row in rows} > {"arithmetic alone"}
    _, snn, control = (variant["best"]["compute"]["mean"] for variant in result["variants"])
    row = next(row for row in rows if row["variant"] == "small-spiking")
    assert row["against its last control, % of the control's"] == change(snn, control)


@pytest.mark.usefixtures("undrawn")
def test_a_stored_comparison_without_controls_opens_and_says_so(tmp_path: Path):
    stored = in_present_terms(json.loads(BEFORE_CONTROLS.read_text()))
    page = written(json.loads(BEFORE_CONTROLS.read_text()), tmp_path)
    wanted = "No chain of controls leads to small-spiking: shape, norm and spikes are not told apart."
    assert wanted in cautions(stored) and wanted in page
    assert any("no control" in line for line in sentences(stored))
    assert attribution_table(stored) == []


def test_the_limits_say_how_much_spikes_could_save_at_most(result: dict[str, Any]):
    ann = next(variant for variant in result["variants"] if variant["kind"] == "ann")
    counted = ann["counts"]["conservative"]
    share = 100 * counted["spiking_blocks"]["energy_mj"]["compute"] / counted["energy_mj"]["compute"]
    assert any(f"{share:.1f} %" in line for line in limits(result))


def test_the_costliest_part_beside_the_slots_is_named_with_its_share(result: dict[str, Any]):
    ann = next(variant for variant in result["variants"] if variant["kind"] == "ann")
    counted = ann["counts"]["conservative"]
    spent = sum(m["energy_mj"]["compute"] for m in counted["modules"] if m["name"].partition(".")[0] == "guidance")
    share = 100 * spent / counted["energy_mj"]["compute"]
    assert any(f"guidance takes most: {share:.1f} % (arithmetic alone)" in line for line in limits(result))


def test_measured_joules_and_modules_that_never_ran_are_told_where_there_are_any(result: dict[str, Any]):
    assert not any("own meter" in line for line in limits(result))
    assert not any("Never ran" in line for line in notes(result))
    ann, snn, _ = result["variants"]
    ann["joules_per_clip"], snn["joules_per_clip"], snn["idle_modules"] = 0.2, 0.3, ["head.spare"]
    assert any(
        "says 300 mJ per clip of small-spiking" in line and "1.50 times small-dense's 200" in line
        for line in limits(result)
    )
    assert "Never ran in small-spiking while operations were counted: head.spare." in notes(result)


def test_few_seeds_and_the_paper_s_protocol_are_cautioned_against(result: dict[str, Any]):
    assert any("2 seeds are too few" in line for line in sentences(result))
    assert any("2 seeds are too few to conclude from" in line for line in cautions(result))
    result["protocol"] = "paper"
    assert any("picked on the test split" in line for line in cautions(result))


def test_the_page_shows_every_section_figure_and_source_and_needs_nothing_else(result: dict[str, Any], tmp_path: Path):
    page = re.sub(r"<script.*?</script>", "", written(result, tmp_path), flags=re.DOTALL)
    titles = re.findall(r">([^<>]+)</h2>", page)
    assert titles == ["Verdict", "Accuracy", "Energy", "Why", "Details"]
    folded = ("Simulation steps", "Firing", "Classes", "Rasters", "Training", "Operations by module", "Configs")
    for title in (*folded, "How it was made"):
        assert f"<summary>{title}</summary>" in page
    assert page.count("<svg") == 13 + 1
    assert all(price["source"].split(":")[0].replace("'", "&#39;") in page for price in result["prices"])
    assert all(line.replace("'", "&#39;") in page for line in sentences(result) + limits(result))
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!\#)([^"']+)""", page)
    assert all(target.startswith("data:image/png;base64,") for target in outside)
    assert "@import" not in page and "<link" not in page

    # Figures take the page's colour there, and have one of their own as files.
    assert "currentColor" in page
    assert "#26282b" not in page
    for name in ("accuracy-energy", "confusion", "steps"):
        assert "currentColor" not in (tmp_path / "figures" / f"{name}.svg").read_text()


def test_nothing_in_a_figure_is_cut_off(result: dict[str, Any], tmp_path: Path):
    per_layer = result["variants"][1]["firing_rate"]["per_layer"]
    per_layer |= {f"visual_relation.layers.{n}.feed_forward": 0.2 for n in range(2)}
    save(firing_rates(result["variants"]), tmp_path, "rates")
    picture = imread(tmp_path / "rates.png")
    assert all((edge == 1).all() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]))


def test_steps_are_drawn_from_zero_and_no_dashes_are_named_without_an_ann(result: dict[str, Any]):
    ann, snn, _ = result["variants"]
    accuracy, _, early = against_steps([ann, snn]).axes
    assert accuracy.get_xlabel().endswith("(ring: as trained; dashes: ANN)")
    assert early.get_xlabel() == "mean simulation steps run per segment"
    snn["anytime"] |= {"depths": snn["anytime"]["depths"][:1], "early_exit": []}
    accuracy, rate, early = against_steps([snn]).axes
    assert accuracy.get_xlabel().endswith("(ring: as trained)")
    assert (accuracy.get_xlim()[0], rate.get_xlim()[0], rate.get_ylim()[0]) == (0, 0, 0)
    assert not early.get_visible()


def test_a_missing_variant_a_lone_ann_and_a_lone_snn_still_make_a_page(result: dict[str, Any], tmp_path: Path):
    ann, snn, _ = result["variants"]
    failure = {"variant": "other", "seed": 0, "reason": "the loss is nan"}
    for name, kept in (("ann", [ann]), ("snn", [snn])):
        part = copy.deepcopy(result)
        part["variants"], part["tests"], part["failed"] = copy.deepcopy(kept), [], [failure]
        part["runs"] = [run for run in part["runs"] if run["variant"] == kept[0]["name"]]
        part["baseline"], part["attribution"] = kept[0]["name"], []
        if name == "snn":
            part["dense_baseline"] = None
            for counted in part["variants"][0]["counts"].values():
                counted |= {"break_even": None, "replaced_blocks_energy_mj": None}
        page = written(part, tmp_path / name)
        assert "other, seed 0, failed and is left out: the loss is nan" in page
        assert [*result_table(part)[-1].values()][:2] == ["other", "failed"]


def test_the_first_spike_is_told_in_steps_from_0(result: dict[str, Any]):
    snn = result["variants"][1]
    next(iter(snn["layers"].values()))["mean_time_to_first_spike"] = 0.49
    assert health_table(snn)[0]["first spike at step, from 0"] == "0.49"


def test_configs_differ_in_what_they_differ_in(result: dict[str, Any]):
    rows = config_differences(result["variants"])
    blocks = {"small-dense": "dense", "small-spiking": "spiking", "small-spiking-rectified": "rectified"}
    assert {"key": "model.slots.temporal_encoder.block"} | blocks in rows
    assert not any(row["key"] == "training.epochs" for row in rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file"),
        ("{", "is not JSON"),
        ("{}", "has no 'variants'"),
        ("[]", "has no 'variants'"),
        (json.dumps(dict.fromkeys(NEEDED) | {"version": 99}), "is of version 99, later than"),
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


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_shows_it_at_any_width_in_both_colours_and_asks_for_nothing(result: dict[str, Any], tmp_path: Path):
    written(result, tmp_path)
    with Browser(tmp_path / "profile") as page:
        for width, scheme in itertools.product((390, 1400), ("light", "dark")):
            page.open((tmp_path / "report.html").as_uri(), width, scheme)
            page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
            assert page.run("document.documentElement.scrollWidth") <= width
            assert page.run("document.querySelectorAll('figure svg').length") == 14
            assert page.run("document.querySelectorAll('.chart .main-svg').length") > 0
            assert page.run(POOR_CONTRAST) == [], (width, scheme)
            paper = re.findall(r"\d+", page.run("getComputedStyle(document.body).backgroundColor"))
            assert (int(paper[0]) > 128) == (scheme == "light")
        assert page.messages == []
        assert [request for request in page.requests if not request.startswith(("file:", "data:"))] == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_tab_and_arrow_keys_alone_change_the_figures(result: dict[str, Any], tmp_path: Path):
    written(result, tmp_path)
    shown = (
        "[document.getElementById('chosen').innerText, document.getElementById('said').innerText,"
        " document.querySelector('#why-energy .gtitle').textContent]"
    )
    with Browser(tmp_path / "profile") as page:
        page.open((tmp_path / "report.html").as_uri(), 1400)
        reached = []
        while "csv" not in reached:
            page.press("Tab")
            reached.append(page.run("document.activeElement.id"))
            assert len(reached) < 20, reached
            if reached[-1] == "model":
                before = page.run(shown)
                page.press("ArrowDown")
                after = page.run(shown)
        assert [name for name in reached if name in ("model", "count", "csv")] == ["model", "count", "csv"]
        assert "arithmetic alone" in before[2] and "weight and state traffic" in after[2]
        assert all(old != new for old, new in zip(before, after, strict=True))
        assert "2 seeds are too few to conclude from" in after[1]


@pytest.mark.usefixtures("undrawn")
def test_a_stored_result_of_the_repository_opens_without_what_it_leaves_out(tmp_path: Path):
    stored = Path(__file__).parents[2] / "results" / "avdigits.json"
    page = written(json.loads(stored.read_text()), tmp_path)
    assert "<summary>Counts, energies and prices</summary>" in page
    assert not re.search(
        "<summary>(Classes|Training|Operations by module|Configs|Where guidance looks)</summary>", page
    )
    assert not (tmp_path / "runs.csv").exists()


def test_spikes_save_or_cost_only_by_an_interval_over_five_seeds():
    assert [verdict_of(bounds, 5) for bounds in ([-3, -1], [1, 3], [-1, 1])] == ["saves", "costs", ""]
    assert verdict_of([-3, -1], 4) == verdict_of(None, 5) == ""
    found = {"variant": "snn", "dense": "ann", "links": [{"part": "spikes"}]}
    how = "% of ann's energy (arithmetic alone, each network at its best count)"
    assert energy_words(found, "compute", -2.0, "saves", 5) == f"The spikes of snn save 2.0 {how}."
    assert energy_words(found, "compute", -2.0, "", 5).startswith(
        "No difference in energy is shown for the spikes of snn"
    )
    assert energy_words(found, "compute", -2.0, "", 1).endswith(f"-2.0 {how}: one seed is too few to conclude from.")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("part", "differs", "verdict"),
    [
        ("spikes", "by its spikes alone.", "The spikes of small-spiking"),
        (
            "memory and spikes",
            "by memory and spikes: without a leak a neuron has no control leaky, which would keep its memory.",
            "Memory and spikes of small-spiking",
        ),
        (
            "memory, bits and spikes",
            "by memory, bits and spikes: no control of this comparison tells them apart.",
            "Memory, bits and spikes of small-spiking",
        ),
    ],
)
def test_the_page_says_spikes_alone_only_where_a_control_tells_them_apart(
    result: dict[str, Any], tmp_path: Path, part: str, differs: str, verdict: str
):
    result["attribution"][0]["links"][-1]["part"] = part
    page = re.sub(r"<script.*?</script>", "", written(result, tmp_path), flags=re.DOTALL)
    assert f"The last control differs from the spiking network {differs}" in page
    assert f"{verdict}, in % of small-dense&#39;s energy (measured, no finding with 2 seeds): " in page
    assert ("its spikes alone" in page) == (part == "spikes")


def test_few_seeds_tell_what_was_measured_by_each_model_and_no_finding(result: dict[str, Any]):
    """In percent of an ANN of 2 mJ; named are the models on the smaller side."""
    (found,) = result["attribution"]
    result["variants"][0]["best"] = {model: {"mean": 2.0} for model in ("compute", "memory", "memory/segment")}

    def said(**differences_mj: float) -> str:
        found["links"][-1]["energy"] = {
            name.replace("_", "/"): {"difference_mj": mj, "ci95_mj": None} for name, mj in differences_mj.items()
        }
        start, _, verdict = chain_verdict(result, found).partition(": ")
        of = "Memory, bits and spikes of small-spiking"
        assert start == f"{of}, in % of small-dense's energy (measured, no finding with 2 seeds)"
        return verdict

    assert said(compute=-0.014, memory=0.1, memory_segment=0.2) == (
        "less by arithmetic alone (0.7 %), more by all other models."
    )
    assert said(compute=0.1, memory=-0.02, memory_segment=-0.04) == (
        "more by arithmetic alone (5.0 %), less by all other models."
    )
    assert said(compute=0.02, memory=0.04) == "1.0 to 2.0 % more by every model."


def test_last_controls_that_differ_in_other_things_are_named(result: dict[str, Any]):
    (found,) = result["attribution"]
    other = copy.deepcopy(found) | {"variant": "other"}
    other["links"][-1]["part"] = "spikes"
    result["attribution"].append(other)
    assert [line.partition(" differs ")[0] for line in last_steps(result)] == [
        "The last control of small-spiking",
        "The last control of other",
    ]
