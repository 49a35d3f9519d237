"""Ablations: one experiment or more, varied row by row, over seeds, as one tidy table beside what was published."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snn_cace.comparison.run import Launch, Variant, compare_variants, plan_runs, raise_for_failed, refuse_seed
from snn_cace.comparison.statistics import compare_with_baseline
from snn_cace.comparison.summary import segment_scores
from snn_cace.config import Experiment, Seed, check_file_name, dotted, put_over, read_config
from snn_cace.errors import InputError
from snn_cace.files import write_json, write_text

OWN_KEYS = ("name", "published")


@dataclass
class Sweep:
    """What is varied.

    Args:
        name: of the sweep; its runs go to runs/NAME unless --output says otherwise.
        bases: config files of experiments, beside this one's directory; each is varied by every row.
        rows: each a mapping of keys to what differs, with a `name` that is added to the base's, and with what
            was `published`, percent, for the first base; the first row is what the others are held against.
        vary: in place of rows: by key, a list of values, in every combination.
        seeds: each row is trained once with each.
        common: what is put over every base.
        published_on: of which data set and protocol the published figures are.
        energy: a file of prices, beside this one's directory, in place of the package's own.
    """

    name: str = "sweep"
    bases: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    vary: dict[str, Any] = field(default_factory=dict)
    seeds: list[Seed] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    common: dict[str, Any] = field(default_factory=dict)
    published_on: str | None = None
    energy: str | None = None

    def __post_init__(self) -> None:
        check_file_name(self.name)
        refuse_seed("common", self.common)
        refuse_seed("vary", self.vary)
        for number, row in enumerate(self.rows, start=1):
            refuse_seed(f"rows, row {number}", row)
            if not isinstance(row.get("name", ""), str):
                raise InputError(f"rows, row {number}: name {row['name']!r} is no text; put it in quotation marks")
            if not isinstance(row.get("published", 0.0), int | float):
                raise InputError(f"rows, row {number}: published is an accuracy in percent, not {row['published']!r}")
        if bool(self.rows) == bool(self.vary):
            raise InputError(f"sweep {self.name}: give either rows or vary")
        for key, values in dotted(self.vary).items():
            if not isinstance(values, list) or not values:
                raise InputError(f"vary: {key} needs a list of values, not {values!r}")


@dataclass
class Row:
    """A base varied. name: of its experiment; changes: by dotted key; published: percent, or None."""

    name: str
    base: str
    changes: dict[str, Any]
    published: float | None
    variant: Variant


def rows_of(sweep: Sweep, where: Path, overrides: dict[str, Any]) -> list[Row]:
    """Every row of every base, base by base.

    Raises:
        InputError: a base that is no experiment, or a row without a mapping.
    """
    if sweep.vary:
        varied = dotted(sweep.vary).items()
        combinations = itertools.product(*([(key, value) for value in values] for key, values in varied))
        rows: list[dict[str, Any]] = [{"name": suffix(choice), **dict(choice)} for choice in combinations]
    else:
        rows = sweep.rows
    found = []
    for number, file in enumerate(sweep.bases):
        changes = put_over(sweep.common, overrides)
        base = read_config(where.parent / file, Experiment, changes).name
        for row in rows:
            own = dotted(put_over({key: value for key, value in row.items() if key not in OWN_KEYS}))
            name = "-".join(filter(None, (base, row.get("name"))))
            published = row.get("published") if number == 0 else None
            variant = Variant(where.parent / file, put_over(changes, own, {"name": name}))
            found.append(Row(name, base, own, published, variant))
    return found


def suffix(choice: Sequence[tuple[str, Any]]) -> str:
    """A name for a combination: psi-0.15."""
    return "-".join(f"{key.rpartition('.')[2]}-{value}".lower().replace("_", "-") for key, value in choice)


def run_sweep(
    sweep: Sweep, where: Path, output: Path, launch: Launch | None = None, overrides: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Compare all rows, and write sweep.csv (a line per run), sweep.json, sweep.md and its figure beside the report.

    Raises:
        InputError: nothing to vary, or, at the end, some run failed.
    """
    from snn_cace.report.sweep import write_sweep_report

    rows = rows_of(sweep, where, overrides or {})
    prices = where.parent / sweep.energy if sweep.energy else None
    variants = [row.variant for row in rows]
    result = compare_variants(sweep.name, variants, sweep.seeds, where, output, launch, prices)
    table = summarise_sweep(sweep, rows, result, where, output)
    write_json(output / "sweep.json", table)
    write_text(output / "sweep.csv", tidy(table, result))
    print(write_sweep_report(table, output))
    raise_for_failed(result, output)
    return table


def summarise_sweep(
    sweep: Sweep, rows: Sequence[Row], result: dict[str, Any], where: Path, output: Path
) -> dict[str, Any]:
    """What sweep.json holds: each row with its accuracy, and the difference to its base's first row."""
    from snn_cace.report.conclusions import energy_at_best

    by_name = {variant["name"]: variant for variant in result["variants"]}
    tests: dict[str, dict[str, Any]] = {}
    for _, group in itertools.groupby(rows, lambda row: row.base):
        members = [row for row in group if row.name in by_name]
        runs = plan_runs([row.variant for row in members], sweep.seeds, where, output) if members else []
        scores: dict[str, dict[int, Any]] = {}
        for run in runs:
            if run.finished:
                scores.setdefault(run.experiment.name, {})[run.seed] = segment_scores(run.files)
        first = members[0].name if members else ""
        tests |= {test["a"]: test for test in (compare_with_baseline(scores, first) if first in scores else [])}
    plain = [
        {
            "name": row.name,
            "base": row.base,
            "changes": row.changes,
            "published": row.published,
            "accuracy": by_name[row.name]["test_segment_accuracy"] if row.name in by_name else None,
            "firing_rate": by_name[row.name]["firing_rate"]["mean"] if row.name in by_name else None,
            "energy_mj": energy_at_best(by_name[row.name]) if row.name in by_name else None,
            "test": tests.get(row.name),
        }
        for row in rows
    ]
    keys = list(dict.fromkeys(key for row in rows for key in row.changes))
    return {
        "name": sweep.name,
        "dataset": result["dataset"],
        "protocol": result["protocol"],
        "seeds": list(sweep.seeds),
        "keys": keys,
        "published_on": sweep.published_on,
        "rows": plain,
        "failed": result["failed"],
    }


def tidy(table: dict[str, Any], result: dict[str, Any]) -> str:
    """A line per finished run, a column per value."""
    rows = {row["name"]: row for row in table["rows"]}
    models = result["energy_models"]
    text = io.StringIO()
    columns = ["variant", "base", "seed", *table["keys"], "val_accuracy", "test_accuracy", "best_epoch", "epochs"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "firing_rate", *(f"energy_mj_{model}" for model in models)])
    for run in result["runs"]:
        row = rows[run["variant"]]
        best = run["history"][run["best_epoch"]].get("val/segment_accuracy")
        writer.writerow(
            [
                row["name"],
                row["base"],
                run["seed"],
                *(row["changes"].get(key) for key in table["keys"]),
                best,
                run["segment_accuracy"],
                run["best_epoch"],
                len(run["history"]),
                row["firing_rate"],
                *(row["energy_mj"][model] for model in models),
            ]
        )
    return text.getvalue()
