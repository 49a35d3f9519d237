"""Configs in README and guides are configs, files that they name are there, and numbers are those of stored JSON."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from keep_result import SMALL, accuracy_digest, all_spikes, energy_digest, index, small_savings
from keep_result import page as page_of
from leaderboard import SETS, best_two

from snn_cace.comparison.front import rivalries
from snn_cace.config import Experiment, read_config
from snn_cace.contracts import ENOUGH_SEEDS
from snn_cace.report.comparison import read_result
from snn_cace.report.conclusions import energy_steps, share_of_dense, variant_named

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "results").rglob("*.md"))]


def test_every_config_in_readme_and_guides_is_an_experiment(tmp_path: Path):
    blocks = [block for page in PAGES for block in re.findall(r"```yaml\n(name: .*?)```", page.read_text(), re.DOTALL)]
    assert len(blocks) >= 2
    for block in blocks:
        (tmp_path / "page.yaml").write_text(block)
        experiment = read_config(tmp_path / "page.yaml", Experiment)
        assert experiment.model.slots.slot("feed_forward").spiking(experiment.model.spiking).tau == 3.0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    linked = {page.parent / target for target in re.findall(r"\]\(([^)#:]+)\)", text)}
    named = {ROOT / path for path in re.findall(r"`((?:configs|snn_cace|neurons|docs|results)/[\w./-]+)`", text)}
    assert [str(path) for path in linked | named if not path.exists()] == []


def test_the_table_of_the_readme_is_the_chain_of_the_demo():
    result = read_result(ROOT / "results" / "demo.json")
    (found,) = result["attribution"]
    variants = {variant["name"]: variant for variant in result["variants"]}
    accuracy = {name: f"{v['test_segment_accuracy']['mean']:.2f}" for name, v in variants.items()}
    rows = [[found["dense"], "-", accuracy[found["dense"]], "-", "-", "-", "100"]]
    for link in found["links"]:
        test = link["accuracy"]
        one, dense = (variants[name]["best"]["compute"]["mean"] for name in (link["to"], found["dense"]))
        points = [f"{value:+.2f}" for value in (test["difference"], *test["ci95"])]
        rows.append([link["to"], link["part"], accuracy[link["to"]], *points, f"{100 * one / dense:.1f}"])
    elsewhere, spikes = (share_of_dense(result, found, step, "compute") for step in energy_steps(found)[-2:])
    last = float(rows[-1][-1]) - float(rows[-2][-1])
    assert f"the last step is {last:+.1f}: {spikes:.1f} by spikes, and {elsewhere:.1f} by" in words_of()
    assert f"The spikes measured {rows[-1][3]} points here" in words_of()
    table = [line.strip("| ").split(" | ") for line in README.splitlines() if line.startswith("|")]
    assert table[2:] == rows
    assert result["variants"][0]["seeds"] == [0, 1]


def words_of(page: str = "README.md") -> str:
    """The words of a page, a space apart."""
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_what_the_readme_says_of_all_networks_is_in_their_json():
    found = all_spikes({file.stem: read_result(file) for file in (ROOT / "results").glob("*.json")})
    assert accuracy_digest(found) in words_of()
    arithmetic, traffic, size, _, a_clip, *_ = energy_digest(found)
    small = re.findall(r"(\d+) save less", small_savings(found))[0]
    assert (
        f"In {arithmetic['save']} networks the spikes save, {small} of them less than {SMALL} %, at most "
        f"{arithmetic['least, %'][1:]} % of the ANN's energy. In {arithmetic['cost']} they cost, and in "
        f"{arithmetic['neither shown']} neither is shown. The median is {arithmetic['median, %']} %." in words_of()
    )
    assert (
        f"In {traffic['save']} networks the spikes save, at most {traffic['least, %'][1:]} % of the ANN's energy. In "
        f"{traffic['cost']} they cost, at most {traffic['most, %'][1:]} %. Where traffic is priced by memory size, they"
        f" save in {size['save']} and cost in {size['cost']}. Where a weight is read only once a clip, they cost in "
        f"all {a_clip['cost']}." in words_of()
    )
    assert a_clip["cost"] == str(len(found))


def test_what_the_readme_says_of_the_leaderboard_is_in_its_json():
    results = [read_result(ROOT / "results" / f"leaderboard-{name}.json") for name in SETS]
    best = [[f"{v['test_segment_accuracy']['mean']:.1f}" for v in best_two(result)] for result in results]
    silent, spiking = zip(*best, strict=True)
    assert (
        f"the best controls reach {silent[0]}, {silent[1]} and {silent[2]} % on three data sets, and the best SNNs "
        f"{spiking[0]}, {spiking[1]} and {spiking[2]} %" in words_of()
    )
    assert [best_two(result)[0]["kind"] for result in results] == ["control"] * 3


def test_what_the_readme_says_of_the_whole_gain_is_in_its_json():
    (found,) = read_result(ROOT / "results" / "avdigits.json")["attribution"]
    whole, spikes = found["whole"]["accuracy"], found["links"][-1]["accuracy"]
    low, high = whole["ci95"]
    others = sum(link["accuracy"]["difference"] for link in found["links"][:-1])
    assert (
        f"the SNN is {whole['difference']:.2f} points more accurate ({low:.2f} to {high:.2f}; corrected p "
        f"{whole['p_holm']:.2f}): shape, norm, memory and bits bring {others:+.2f} points, and spikes "
        f"{spikes['difference']:+.2f}" in words_of()
    )
    assert whole["shown"] and spikes["shown"]


def test_every_page_of_results_is_what_its_json_says():
    results = {file.stem: read_result(file) for file in sorted((ROOT / "results").glob("*.json"))}
    pages = {"README": index(results)} | {stem: page_of(result, stem) for stem, result in results.items()}
    assert [name for name, text in pages.items() if (ROOT / "results" / f"{name}.md").read_text() != text] == []


def test_what_is_said_of_zeros_elsewhere_and_of_the_originals_faults_is_in_their_json():
    result = read_result(ROOT / "results" / "leaderboard-games.json")
    chains = {found["variant"]: found for found in result["attribution"]}
    (*_, cace, spikes), (*_, cmbs, others) = (energy_steps(chains[f"snn-{name}"]) for name in ("cace-net", "cmbs"))
    shares = [
        share_of_dense(result, chains[f"snn-{name}"], step, "compute")
        for name, step in (("cace-net", cace), ("cmbs", cmbs), ("cace-net", spikes), ("cmbs", others))
    ]
    assert (
        "it is {:+.1f} % of the ANN's energy in CACE-Net and {:+.1f} % in CMBS, where the spikes' own share is {:.1f} "
        "and {:.1f} %".format(*shares)
        in words_of("docs/explanations/controls.md")
    )
    peers = read_result(ROOT / "results" / "peers.json")["variants"]
    page = (ROOT / "docs/explanations/peers.md").read_text(encoding="utf-8").partition("AVEL's parts bring?")[2]
    reached = sorted(f"{variant['test_segment_accuracy']['mean']:.2f}" for variant in peers)
    assert sorted(re.findall(r"\| ([\d.]+) \|$", page, re.MULTILINE)) == reached


def test_the_table_of_peers_is_in_their_json():
    result, parts = read_result(ROOT / "results" / "peers-spiking.json"), ("shape and norm", "memory", "bits", "spikes")
    accuracy = {v["name"]: f"{v['test_segment_accuracy']['mean']:.2f}" for v in result["variants"]}
    page, saved = (ROOT / "docs/explanations/peers.md").read_text(encoding="utf-8"), []
    for found in result["attribution"]:
        by_part = {link["part"]: f"{link['accuracy']['difference']:+.1f}" for link in found["links"]}
        cells = [accuracy[found["dense"]], *(by_part.get(part, "-") for part in parts)]
        assert " | ".join([found["dense"].upper(), *cells, accuracy[found["links"][-1]["to"]]]) in page
        saved.append(-share_of_dense(result, found, found["links"][-1], "compute"))
    said = " ".join(page.split())
    assert f"save {min(saved):.1f} to {max(saved):.1f} % of the dense network's energy" in said
    links = [(found, found["links"][-1]) for found in result["attribution"]]
    models = [model for model in links[0][1]["energy"] if model != "compute"]
    cost = [share_of_dense(result, found, link, model) for found, link in links for model in models]
    assert f"they cost, {min(cost):.1f} to {max(cost):.1f} %" in said
    for _, link in links:
        arithmetic, *others = (link["energy"][model]["ci95_mj"] for model in ("compute", *models))
        assert arithmetic[1] < 0 < min(interval[0] for interval in others)
    assert [found["links"][-1]["accuracy"]["shown"] for found in result["attribution"]] == [True, False, True]


def test_what_is_said_of_the_price_of_few_bits_is_in_the_json():
    """How much cheaper a narrow product must be for the last link to save nothing by arithmetic, zeros skipped."""
    page = (ROOT / "docs/explanations/controls.md").read_text(encoding="utf-8")
    for stem in ("avdigits-guided", "games", "avdigits", "avdigits-wide", "avdigits-tuned"):
        result = read_result(ROOT / "results" / f"{stem}.json")
        link = result["attribution"][0]["links"][-1]
        control = variant_named(result, link["from"])
        assert control is not None
        products = control["counts"]["zero_skipping"]["operations"]["narrow_macs"]
        less = -1e9 * link["energy"]["compute"]["difference_mj"] / products
        assert f"results/{stem}.md) | {less:.2f} |" in page


def test_no_spiking_network_saves_at_equal_accuracy():
    """As README and docs/explanations/controls.md say of every comparison of five seeds, by each model and reuse."""
    by_name = {file.stem: read_result(file) for file in (ROOT / "results").glob("*.json")}
    for stem, result in by_name.items():
        if len(result["variants"][0]["seeds"]) >= ENOUGH_SEEDS:
            for model in [*result["energy_models"], *result.get("reusing_models", [])]:
                found = rivalries(result["variants"], model)
                beside = [one for one in found if one.rival is not None]
                assert all(one.percent > 0 or not one.is_equal for one in beside), (stem, model)
                alone = {one.spiking for one in found if one.rival is None}
                assert alone <= {"wide-s1-mixed"}, (stem, model)
    for stem, name, model, words in (
        ("avdigits-wide-front", "wide-s1", "memory/segment", "takes {:.1f} % less, at {:.1f} points"),
        ("avdigits-front", "snn-guided-s1", "memory/segment", "takes {:.1f} % less, at {:.1f} points"),
        ("games", "snn-guided", "compute", "{:.1f} % less by arithmetic than its control, at {:.1f} points"),
    ):
        one = next(one for one in rivalries(by_name[stem]["variants"], model) if one.spiking == name)
        assert words.format(-one.percent, one.points) in words_of("docs/explanations/controls.md")
        if stem == "avdigits-wide-front":
            said = f"one takes {-one.percent:.1f} % less with a weight read once a segment, at {one.points:.1f} points"
            assert said in words_of()
    assert len(by_name["avdigits-front"]["attribution"]) == 5


def test_what_is_said_of_all_that_spikes_touch_is_in_the_json():
    """By arithmetic, of the last control's energy: in the searches and on videos of games, and over all results."""
    touched: dict[str, list[float]] = {}
    for file in (ROOT / "results").glob("*.json"):
        result = read_result(file)
        for found in result["attribution"]:
            last, spiking = (variant_named(result, name) for name in (found["links"][-1]["from"], found["variant"]))
            assert last is not None and spiking is not None
            blocks, own = (one["counts"]["zero_skipping"]["spiking_blocks"] for one in (last, spiking))
            if len(last["seeds"]) >= ENOUGH_SEEDS and blocks["slots"] == own["slots"]:
                touched.setdefault(file.stem, []).append(100 * blocks["share"]["compute"])
    here = [share for stem in ("avdigits-front", "avdigits-wide-front", "games") for share in touched[stem]]
    whole = [share for shares in touched.values() for share in shares]
    assert (
        f"touch only {min(here):.0f} to {max(here):.0f} % of the control's energy here ({min(whole):.0f} to "
        f"{max(whole):.0f} % over all results)" in words_of("docs/explanations/controls.md")
    )


def test_what_is_said_of_one_simulation_step_is_in_its_json():
    result = read_result(ROOT / "results" / "avdigits-wide-s1.json")
    assert all(variant["seeds"] == [*range(5, 15)] for variant in result["variants"])
    found = {(test["a"], test["b"]): test for test in result["tests"]}
    control, mixed, straight = (found[f"wide-s1-{name}", "wide-s1"] for name in ("quantised", "mixed", "straight"))
    beyond = found["wide-s1-mixed", "wide-s1-quantised"]
    assert control["shown"] and mixed["shown"] and beyond["shown"] and not straight["shown"]
    page = words_of("docs/explanations/controls.md")
    for test, words in (
        (control, "{:.1f} points less accurate than its control of one bit ({:.1f} to {:.1f})"),
        (mixed, "gains {:.1f} points ({:.1f} to {:.1f})"),
        (beyond, "{:.1f} points more accurate than the control ({:.1f} to {:.1f})"),
    ):
        assert words.format(test["difference"], *test["ci95"]) in page
    assert f"({beyond['difference']:.1f} points)" in words_of()
    said = f"measured {straight['difference']:+.1f} points ({straight['ci95'][0]:.1f} to {straight['ci95'][1]:+.1f}"
    assert f"{said}; not shown)" in page


def test_what_controls_reach_with_a_step_of_one_over_s_is_in_their_json():
    page = words_of("docs/explanations/controls.md").partition("## The size of a control's step")[2]
    rows = re.findall(r"\| \[([\w-]+)\]\(../../results/([\w-]+)\.md\)[^|]*\| [\d.]+ \| ([\d.]+) \|", page)
    assert len(rows) == 6
    for network, stem, reached in rows:
        control = variant_named(read_result(ROOT / "results" / f"{stem}.json"), f"{network}-quantised")
        assert control is not None and f"{control['test_segment_accuracy']['mean']:.2f}" == reached
    found = all_spikes({file.stem: read_result(file) for file in (ROOT / "results").glob("*.json")})
    worse = sum(one.accuracy["shown"] and one.accuracy["difference"] < 0 for one in found)
    assert f"results/README.md`), and {worse} are now" in page


def test_what_the_readme_says_of_time_is_measured():
    """Of layers that read patches, and of the row of eight clips of the trained networks."""
    page = (ROOT / "docs/explanations/measured-1.md").read_text(encoding="utf-8")
    crossings = re.findall(r"^\| guidance's value.*float32.*\| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(crossings) == 3
    cells = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")]
        for line in page.partition("## 8 clips")[2].splitlines()
        if "|" in line
    }
    ann, snn, *controls = (
        cells[f"{name}, trained"]
        for name in ("ann-wide", "snn-guided-wide", "snn-guided-wide-rectified", "snn-guided-wide-quantised")
    )
    compiled = float(ann[6])
    times = [float(time) / compiled for time in (snn[4], min(control[4] for control in controls), ann[8])]
    said = (
        "less than {} to {} of their inputs are not zero. Eight clips at a time, a trained SNN takes {:.2f} of the "
        "compiled ANN's time, its faster control {:.2f}, and the ANN in eight-bit ONNX Runtime {:.2f} "
    )
    assert said.format(min(crossings), max(crossings), *times) in words_of()
    live = (ROOT / "docs/how-to/live.md").read_text(encoding="utf-8").partition("On one thread:")[2]
    ann, control, snn = (
        next([cell.strip() for cell in line.split("|")] for line in live.splitlines() if line.startswith(f"| {name} |"))
        for name in ("ann", "snn-guided-quantised", "snn-guided")
    )
    said = "takes the ANN {:.2f} of its own compiled time in ONNX Runtime, the control {:.2f} and the SNN {:.2f}"
    times = [float(one[3]) / float(ann[6]) for one in (ann, control, snn)]
    assert said.format(*times) in words_of()


def test_the_coverage_that_the_readme_gives_is_that_of_the_simulation():
    table = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    held = [float(row) for row in re.findall(r"^\| 5 \|(?: [\d.]+ \|){3} ([\d.]+) \|$", table, re.MULTILINE)]
    assert len(held) == 6 and f"{min(held)} to {max(held)} % had the true difference" in words_of()


def test_the_readme_is_of_one_screen_and_one_table():
    assert len(README.splitlines()) <= 150 and len(README.split()) <= 1200
    assert len(re.findall(r"^\| ---", README, re.MULTILINE)) == 1
