"""Configs in README and guides are configs, files that they name are there, and numbers are those of stored JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from snn_cace.comparison.front import rivalries
from snn_cace.config import Experiment, read_config
from snn_cace.contracts import ENOUGH_SEEDS
from snn_cace.report.comparison import read_result
from snn_cace.report.conclusions import share_of_dense, variant_named

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
    accuracy = {v["name"]: f"{v['test_segment_accuracy']['mean']:.2f}" for v in result["variants"]}
    rows, energy = [[found["dense"], "-", accuracy[found["dense"]], "-", "-", "-", "100"]], 100.0
    for link in found["links"]:
        test = link["accuracy"]
        energy += share_of_dense(result, found, link, "compute")
        points = [f"{value:+.2f}" for value in (test["difference"], *test["ci95"])]
        rows.append([link["to"], link["part"], accuracy[link["to"]], *points, f"{energy:.1f}"])
    table = [line.strip("| ").split(" | ") for line in README.splitlines() if line.startswith("|")]
    assert table[2:] == rows
    assert result["variants"][0]["seeds"] == [0, 1]


def test_what_the_readme_says_of_five_seeds_is_in_their_json():
    """Each number with a sign or a percent sign in the sentences of `results/avdigits.json`."""
    result = json.loads((ROOT / "results" / "avdigits.json").read_text(encoding="utf-8"))
    (found,) = result["attribution"]
    (said,) = re.findall(r"Five seeds say:(.*?)- \*\*Equally tuned", README, re.DOTALL)
    numbers = re.findall(r"[+-]\d+\.\d+", said)
    differences = [found["whole"], *found["links"]]
    known = {
        f"{value:+.2f}" for link in differences for value in (link["accuracy"]["difference"], *link["accuracy"]["ci95"])
    }
    assert len(numbers) == 6 and set(numbers) <= known
    spikes = found["links"][-1]
    first, *others = (share_of_dense(result, found, spikes, model) for model in spikes["energy"])
    assert f"{-first:.1f} % less" in said and f"{min(others):.1f} to {max(others):.1f} %" in said
    low, *lows = (spikes["energy"][model]["ci95_mj"][0] for model in spikes["energy"])
    assert low < 0 < spikes["energy"]["compute"]["ci95_mj"][1] and min(lows) > 0 and len(lows) == 6


def test_what_the_readme_says_of_reuse_is_in_its_json():
    result = read_result(ROOT / "results" / "avdigits-wide.json")
    (found,) = result["attribution"]
    shares = [share_of_dense(result, found, found["links"][-1], model) for model in ("memory", "memory/segment")]
    bounds = [found["links"][-1]["energy"][model]["ci95_mj"] for model in ("memory", "memory/segment")]
    assert bounds[0][1] < 0 < bounds[1][0] and len(result["variants"][0]["seeds"]) == 5
    said = f"spikes save {-shares[0]:.1f} % of the ANN's energy, but they cost {shares[1]:.1f} % where"
    assert said in " ".join(README.split())


def test_what_the_readme_says_of_guided_spikes_is_in_its_json():
    result = read_result(ROOT / "results" / "avdigits-guided.json")
    (found,) = result["attribution"]
    spikes = found["links"][-1]
    assert spikes["energy"]["compute"]["ci95_mj"][1] < 0 and not spikes["accuracy"]["shown"]
    less, more = (share_of_dense(result, found, spikes, model) for model in ("compute", "memory"))
    percent = less / spikes["energy"]["compute"]["difference_mj"]
    high, low = (abs(percent * end) for end in spikes["energy"]["compute"]["ci95_mj"])
    said = f"save {-less:.1f} % by arithmetic ({low:.1f} to {high:.1f}), and with traffic they cost {more:.1f} %"
    assert said in " ".join(README.split())
    assert f"Accuracy measured {-spikes['accuracy']['difference']:.1f} points less (not shown)" in README


def test_what_the_readme_says_of_equal_tuning_is_in_its_json():
    result = read_result(ROOT / "results" / "avdigits-tuned.json")
    (found,) = result["attribution"]
    spikes = found["links"][-1]
    low, high = spikes["energy"]["compute"]["ci95_mj"]
    less, reused = (-share_of_dense(result, found, spikes, model) for model in ("compute", "memory/segment"))
    said = (
        f"the SNN is {-spikes['accuracy']['difference']:.2f} points less accurate than that control (corrected p "
        f"{spikes['accuracy']['p_holm']:.3f}). By arithmetic the spikes measured {less:.1f} % less of the ANN's "
        f"energy, not shown; with a weight read once a segment they save {reused:.1f} %"
    )
    assert said in " ".join(README.split()) and spikes["accuracy"]["shown"] and low < 0 < high
    assert spikes["energy"]["memory/segment"]["ci95_mj"][1] < 0
    assert len(result["variants"][0]["seeds"]) == 5


def test_what_the_readme_says_of_games_is_in_their_json():
    result = read_result(ROOT / "results" / "games.json")
    (found,) = result["attribution"]
    spikes = found["links"][-1]
    shares = [share_of_dense(result, found, spikes, model) for model in ("compute", "memory", "memory/segment")]
    said = (
        f"{-shares[0]:.1f} % by arithmetic and {-shares[1]:.1f} % with traffic, but they cost {shares[2]:.1f} % where"
    )
    assert said in " ".join(README.split())
    bounds = [spikes["energy"][model]["ci95_mj"] for model in ("compute", "memory", "memory/segment")]
    assert bounds[0][1] < 0 and bounds[1][1] < 0 < bounds[2][0]
    assert not spikes["accuracy"]["shown"] and len(result["variants"][0]["seeds"]) == 5
    seen = read_result(ROOT / "results" / "games-events.json")
    (events,) = seen["attribution"]
    models = ("compute", "memory", "memory/segment", "sram")
    shares = [abs(share_of_dense(seen, events, events["links"][-1], model)) for model in models]
    assert "as events it is {:.1f}, {:.1f}, {:.1f} and {:.1f} %".format(*shares) in " ".join(README.split())
    ends = [events["links"][-1]["energy"][model]["ci95_mj"] for model in models]
    assert max(ends[0][1], ends[1][1]) < 0 < min(ends[2][0], ends[3][0])
    controls = " ".join((ROOT / "docs/explanations/controls.md").read_text(encoding="utf-8").split())
    (best,) = rivalries(result["variants"], "compute")
    before, after = (variant_named(result, spikes[end]) for end in ("from", "to"))
    assert before is not None and after is not None
    more = 100 * (before["best"]["compute"]["mean"] / after["best"]["compute"]["mean"] - 1)
    assert (
        f"{-best.percent:.1f} % less by arithmetic" in controls and f"only {more:.1f} % more than the SNN" in controls
    )


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


def test_what_the_readme_says_of_other_networks_is_in_their_json():
    said = " ".join(README.split())
    peers = read_result(ROOT / "results" / "peers-spiking.json")["attribution"]
    avel, cmran, cmbs = (-found["links"][-1]["accuracy"]["difference"] for found in peers)
    assert f"cost AVEL {avel:.1f} points and CMBS {cmbs:.1f}; CMRAN measured {cmran:.1f} less (not shown)" in said
    result = read_result(ROOT / "results" / "avdigits-braincog.json")
    (found,) = result["attribution"]
    energy = found["links"][-1]["energy"]
    cost = [share_of_dense(result, found, found["links"][-1], model) for model in energy]
    assert f"spiking encoder they cost {min(cost):.1f} to {max(cost):.1f} %" in said
    assert min(one["ci95_mj"][0] for one in energy.values()) > 0
    chains = {one["variant"]: one for one in read_result(ROOT / "results" / "avdigits-spiking.json")["attribution"]}
    one, sixteen = (chains[name]["links"][-1]["accuracy"] for name in ("snn-s1", "snn-s16"))
    less = f"{-one['difference']:.1f} and {-sixteen['difference']:.1f} points less (not shown)"
    assert f"Accuracy measured {less}" in said and not one["shown"] and not sixteen["shown"]
    for stem, words in (
        ("avdigits-wide", "{:.1f} % where traffic is priced"),
        ("games", "and {:.1f} % by memory size"),
    ):
        result = read_result(ROOT / "results" / f"{stem}.json")
        (found,) = result["attribution"]
        assert words.format(share_of_dense(result, found, found["links"][-1], "sram")) in said


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


def test_one_spiking_network_saves_by_arithmetic_and_with_reuse_at_once():
    """As docs/explanations/controls.md says of every comparison of five seeds."""
    for file in (ROOT / "results").glob("*.json"):
        result = read_result(file)
        few = len(result["variants"][0]["seeds"]) < ENOUGH_SEEDS
        if few or "memory/segment" not in result.get("reusing_models", []):
            continue
        by_model = [rivalries(result["variants"], model) for model in ("compute", "memory/segment")]
        saving = [{one.spiking for one in found if one.is_equal and one.percent < 0} for found in by_model]
        assert saving[0] & saving[1] == ({"wide-lean"} if file.stem == "avdigits-wide-front" else set()), file.name
    result = read_result(ROOT / "results" / "avdigits-wide-front.json")
    first, second = (
        next(one for one in rivalries(result["variants"], model) if one.spiking == "wide-lean")
        for model in ("compute", "memory/segment")
    )
    reached = [variant_named(result, name) for name in ("wide-lean", "snn-guided-wide-quantised")]
    lean, best = (one["test_segment_accuracy"]["mean"] for one in reached if one is not None)
    said = f"{-first.percent:.1f} and {-second.percent:.1f} %, at {lean:.0f} % accuracy where controls reach {best:.0f}"
    assert f"one saves {said}" in " ".join(README.split())
    one_step = next(found for found in result["attribution"] if found["variant"] == "wide-s1")["links"][-1]["accuracy"]
    said = f"measured {one_step['difference']:.1f} points more than its control of one bit (corrected p"
    page = " ".join((ROOT / "docs/explanations/controls.md").read_text(encoding="utf-8").split())
    assert f"{said} {one_step['p_holm']:.3f}, not shown)" in page and not one_step["shown"]


def test_what_the_readme_says_of_the_search_is_in_its_json():
    result = read_result(ROOT / "results" / "avdigits-front.json")
    for model in [*result["energy_models"], *result["reusing_models"]]:
        found = rivalries(result["variants"], model)
        assert not any(one.is_equal and one.interval and one.interval[1] < 0 for one in found)
    nearest = [
        {one.spiking: one for one in rivalries(result["variants"], model) if one.interval and one.interval[1] < 0}
        for model in ("compute", "memory/segment")
    ]
    assert nearest[0].keys() & nearest[1].keys() == {"snn-guided-s1", "snn-guided-s1-lean"}
    first, second = (found["snn-guided-s1"] for found in nearest)
    said = (
        f"takes {-first.percent:.1f} % less than its control by arithmetic, and {-second.percent:.1f} % less with a "
        f"weight read once a segment, but measured {-first.points:.1f} points less accurate (not shown)"
    )
    assert said in " ".join(README.split())
    one_step = next(found for found in result["attribution"] if found["variant"] == "snn-guided-s1")
    assert not one_step["links"][-1]["accuracy"]["shown"]
    assert len(result["attribution"]) == 5 and "integer codes found no saving." in " ".join(README.split())


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
    assert said.format(min(crossings), max(crossings), *times) in " ".join(README.split())
    live = (ROOT / "docs/how-to/live.md").read_text(encoding="utf-8").partition("On one thread:")[2]
    ann, control, snn = (
        next([cell.strip() for cell in line.split("|")] for line in live.splitlines() if line.startswith(f"| {name} |"))
        for name in ("ann", "snn-guided-quantised", "snn-guided")
    )
    said = "takes the ANN {:.2f} of its own compiled time in ONNX Runtime, the control {:.2f} and the SNN {:.2f}"
    times = [float(one[3]) / float(ann[6]) for one in (ann, control, snn)]
    assert said.format(*times) in " ".join(README.split())


def test_what_the_readme_says_of_simulation_steps_is_in_its_json():
    result = read_result(ROOT / "results" / "avdigits-spiking.json")
    chains = {found["variant"]: found for found in result["attribution"]}
    one, sixteen = (
        share_of_dense(result, chains[name], chains[name]["links"][-1], "memory") for name in ("snn-s1", "snn-s16")
    )
    said = f"the spikes save {-one:.1f} % of the ANN's energy at one step, and cost {sixteen:.1f} % at sixteen."
    assert said in " ".join(README.split())
    assert chains["snn-s1"]["links"][-1]["energy"]["memory"]["ci95_mj"][1] < 0
    means = {
        name: variant_named(result, name)["test_segment_accuracy"]["mean"] for name in ("snn", "snn-s1", "snn-s16")
    }
    assert means["snn"] > max(means["snn-s1"], means["snn-s16"])


def test_the_coverage_that_the_readme_gives_is_that_of_the_simulation():
    table = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    held = [float(row) for row in re.findall(r"^\| 5 \|(?: [\d.]+ \|){3} ([\d.]+) \|$", table, re.MULTILINE)]
    assert len(held) == 6 and f"{min(held)} to {max(held)} % had the true difference" in " ".join(README.split())


def test_the_readme_is_of_one_screen_and_one_table():
    assert len(README.splitlines()) <= 150 and len(README.split()) <= 1200
    assert len(re.findall(r"^\| ---", README, re.MULTILINE)) == 1
