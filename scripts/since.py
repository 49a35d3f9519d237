"""How results under results/ differ from those of an earlier revision, in test accuracy: what training them again did.

.venv/bin/python scripts/since.py 6371fe3 quantised   # of networks whose name ends so; all without it
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from keep_result import RESULTS

from snn_cace.comparison.schema import Result
from snn_cace.contracts import ENOUGH_SEEDS
from snn_cace.report.comparison import read_result
from snn_cace.report.conclusions import markdown_table


def accuracies(result: Result) -> dict[str, float]:
    """Mean test accuracy by network, of those with enough seeds to conclude from."""
    enough = [variant for variant in result["variants"] if len(variant["seeds"]) >= ENOUGH_SEEDS]
    return {variant["name"]: variant["test_segment_accuracy"]["mean"] for variant in enough}


def main(revision: str, ending: str = "") -> None:
    pairs: dict[tuple[str, float, float], str] = {}
    for file in sorted(RESULTS.glob("*.json")):
        shown = ["git", "-C", str(RESULTS), "show", f"{revision}:./{file.name}"]
        older = subprocess.run(shown, capture_output=True, text=True, check=False)
        if older.returncode:  # it was not there
            continue
        before = accuracies(json.loads(older.stdout))
        for name, now in accuracies(read_result(file)).items():
            if name in before and name.endswith(ending):
                pairs.setdefault((name, before[name], now), file.stem)  # once where several comparisons share its runs
    if not pairs:
        sys.exit(f"no network of {ENOUGH_SEEDS} seeds or more is both in results/ and in revision {revision}")
    changes = [now - before for _, before, now in pairs]
    rows = [
        {"comparison": stem, "network": name, "before, %": f"{before:.2f}", "now, %": f"{now:.2f}"}
        for (name, before, now), stem in sorted(pairs.items(), key=lambda pair: pair[0][2] - pair[0][1])
    ]
    print("\n".join(markdown_table(rows)))
    more, less = (sum(sign * change > 0 for change in changes) for sign in (1, -1))
    middle = round(median(changes), 1) + 0.0  # no -0.0
    print(f"{len(rows)} networks: {more} reach more, {less} less; the median difference is {middle:.1f} points")


if __name__ == "__main__":
    main(*sys.argv[1:])
