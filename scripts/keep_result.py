"""Keep a comparison under results/: what its tables say, as JSON, page and two figures, without what fills megabytes.

.venv/bin/python scripts/keep_result.py runs/demo demo
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from snn_cace.files import write_text

RESULTS = Path(__file__).resolve().parents[1] / "results"
BULKY = ("modules", "raster", "layers", "anytime", "config", "confusion", "class_accuracy")
"""What no table of results/ or README shows."""
FIGURES = ("attribution", "accuracy-energy", "verdicts")


def kept(value: object) -> object:
    """`value` without what is bulky."""
    if isinstance(value, dict):
        return {key: kept(inner) for key, inner in value.items() if key not in BULKY}
    return [kept(inner) for inner in value] if isinstance(value, list) else value


def main(source: Path, name: str) -> None:
    result = json.loads((source / "comparison.json").read_text(encoding="utf-8"))
    runs = [{key: run[key] for key in ("variant", "seed", "segment_accuracy", "best_epoch")} for run in result["runs"]]
    slim = {**result, "attention": None, "runs": runs, "variants": kept(result["variants"])}
    write_text(RESULTS / f"{name}.json", json.dumps(slim, indent=1, allow_nan=False) + "\n")
    pictures = [figure for figure in FIGURES if (source / "figures" / f"{figure}.svg").is_file()]
    for figure in pictures:
        shutil.copy(source / "figures" / f"{figure}.svg", RESULTS / f"{name}-{figure}.svg")
    shown = "".join(f"![{figure}]({name}-{figure}.svg)\n\n" for figure in pictures)
    text = (source / "comparison.md").read_text(encoding="utf-8")
    write_text(RESULTS / f"{name}.md", f"# {name}\n\n{shown}{text}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
