"""Results of tuning: the best setting of each variant, and whether more trials would change the order."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from snn_cace.comparison.front import pareto_front
from snn_cace.comparison.schema import Result
from snn_cace.report import figures
from snn_cace.report.conclusions import Table, model_words


def tuning_table(result: Result) -> Table:
    """A row per variant's search."""
    rows = []
    for search in searches(result):
        trials = search["trials"]
        best = trials[search["best"]]
        states = [trial["state"] for trial in trials]
        rows.append(
            {
                "variant": search["variant"],
                "trials": str(len(trials)),
                "went on to the end": str(states.count("finished")),
                "failed": str(states.count("failed")),
                "epochs": str(sum(trial["epochs"] for trial in trials)),
                "best validation accuracy, %": f"{best['score']:.2f}",
                "best setting": ", ".join(f"{short(key)} {setting(value)}" for key, value in best["settings"].items()),
            }
        )
    return rows


def searches(result: Result) -> list[dict[str, Any]]:
    return (result["tuning"] or {"variants": []})["variants"]


def short(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def tuning_notes(result: Result) -> list[str]:
    """How it was searched, and what the expected best says of the order."""
    how = result["tuning"]
    if not how:
        return []
    drawn = {"random": "drawn at random", "tpe": "drawn by Optuna's TPE from those before"}[how["sampler"]]
    rungs = ", ".join(map(str, how["rungs"]))
    thinned = f"; after {rungs} epochs the best {100 * how['keep']:.0f} % went on" if rungs else ""
    lines = [
        f"Every variant had {how['trials']} trials, {drawn}, on the validation split alone{thinned}. Ranges that "
        "variants share were searched at the same points. The seeds below were then trained with each variant's best "
        "setting, and the test split read once."
    ]
    if how["sampler"] == "random":
        lines.append(order_words(result))
    return lines


def order_words(result: Result) -> str:
    """Whether the order of expected bests is the same from half of the trials on."""
    found = searches(result)
    shortest = min(len(search["expected_best"]) for search in found)
    orders = [
        tuple(sorted((s["variant"] for s in found), key=lambda name: -expected(found, name, number)))
        for number in range(max(1, shortest // 2), shortest + 1)
    ]
    words = " over ".join(orders[-1])
    if len(set(orders)) == 1:
        return f"By expected best validation score the order is {words} from {shortest // 2} trials to {shortest}."
    return (
        f"By expected best validation score the order is {words} at {shortest} trials, but another somewhere from "
        f"{shortest // 2} on: more trials may change it."
    )


def expected(found: list[dict[str, Any]], name: str, number: int) -> float:
    (search,) = (search for search in found if search["variant"] == name)
    return search["expected_best"][number - 1]["mean"]


@figures.styled
def expected_best(result: Result) -> Figure | None:
    """Mean and standard deviation of the best validation accuracy of n trials, over n."""
    found = searches(result)
    if not found:
        return None
    figure, (axes,) = figures.new_figure(8, 3.8)
    for number, search in enumerate(found):
        mean = np.array([point["mean"] for point in search["expected_best"]])
        std = np.array([point["std"] for point in search["expected_best"]])
        trials = np.arange(1, len(mean) + 1)
        axes.plot(trials, mean, color=figures.colour(number), label=search["variant"])
        axes.fill_between(trials, mean - std, np.minimum(mean + std, 100), color=figures.colour(number), alpha=0.15)
    figures.whole_steps(axes)
    axes.set_xlabel("trials")
    axes.set_ylabel("best validation accuracy, %")
    figures.legend_below(figure, axes)
    return figure


@figures.styled
def front(result: Result) -> Figure | None:
    """Validation accuracy of finished trials over their energy, and who is not beaten in both."""
    found = [(s, [t for t in s["trials"] if t["energy_mj"]]) for s in searches(result)]
    if not any(trials for _, trials in found):
        return None
    figure, (axes,) = figures.new_figure(8, 4)
    points, model = [], (result["tuning"] or {}).get("energy_model", "memory")
    for number, (search, trials) in enumerate(found):
        energies = [figures.MICROJOULES_PER_MILLIJOULE * trial["energy_mj"][model] for trial in trials]
        scores = [trial["score"] for trial in trials]
        points += list(zip(energies, scores, strict=True))
        axes.plot(energies, scores, "o", color=figures.colour(number), label=search["variant"])
    ends = pareto_front(points)
    axes.plot(*zip(*ends, strict=True), ":", color=figures.INK, label="Pareto front")
    axes.set_xlabel(f"energy of a clip, µJ, {model_words(model)}, event-driven")
    axes.set_ylabel("best validation accuracy, %")
    figures.legend_below(figure, axes)
    return figure
