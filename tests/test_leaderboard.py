"""The leaderboard's page is what its JSON says, and released weights give the accuracy on their cards."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from leaderboard import SETS, best_two, page

from snn_cace.cli import main
from snn_cace.report.comparison import read_result

RESULTS = Path(__file__).resolve().parents[1] / "results"
CARDS = re.split(r"^## ", (RESULTS / "weights" / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def test_the_page_is_what_the_json_says():
    results = {name: read_result(RESULTS / f"leaderboard-{name}.json") for name in SETS}
    assert page(results) == (RESULTS / "leaderboard.md").read_text(encoding="utf-8")
    best = [f"{name}-{variant['name']}" for name, result in results.items() for variant in best_two(result)]
    assert best == [card.split("\n", 1)[0] for card in CARDS]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.split("\n", 1)[0])
def test_released_weights_give_the_accuracy_on_their_card(card: str, capsys: pytest.CaptureFixture):
    """On AV-Digits, which is made anywhere; of the others, the bytes alone."""
    name = card.split("\n", 1)[0]
    file = RESULTS / "weights" / f"{name}.ckpt"
    assert f"`{hashlib.sha256(file.read_bytes()).hexdigest()}`" in card
    if name.startswith("avdigits"):
        assert main(["evaluate", "--checkpoint", str(file), "--device", "cpu", "--quiet"]) == 0
        (accuracy,) = re.findall(r"this file: ([\d.]+) %", card)
        assert f"{json.loads(capsys.readouterr().out)['segment_accuracy']:.2f}" == accuracy
