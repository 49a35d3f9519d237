"""An energy model that is defined outside the package is priced, tabulated and drawn like those that come along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from small import write_variants

from snn_cace.comparison.plan import Comparison
from snn_cace.comparison.run import run_comparison
from snn_cace.config import read_config
from snn_cace.counting.energy import read_prices
from snn_cace.counting.models import MODELS, EnergyModel, Price, price


@pytest.fixture
def moves() -> Iterator[None]:
    @dataclass
    class Moves(EnergyModel):
        """A weight costs when it is read, and nothing else does."""

        name, title, heading = "moves", "reads of weights alone", "weights"
        read: Price = price(2.0, "assumption")  # noqa: RUF009

        def picojoules(self, part, module, weight_reads):
            return self.read.picojoules * weight_reads

    yield
    del MODELS["moves"]


@pytest.mark.usefixtures("moves", "undrawn")
def test_a_model_of_one_s_own_is_in_every_table(tmp_path: Path):
    write_variants(tmp_path, epochs=1)
    (tmp_path / "prices.yaml").write_text("moves.read: {picojoules: 3, source: mine}\n")
    assert read_prices(tmp_path / "prices.yaml")["moves"].read.picojoules == 3
    (tmp_path / "c.yaml").write_text(
        "name: small\nexperiments: [dense.yaml, spiking.yaml]\nseeds: [0]\ncontrols: []\nenergy: prices.yaml\n"
    )
    run_comparison(read_config(tmp_path / "c.yaml", Comparison), tmp_path / "c.yaml", tmp_path / "out")
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert result["energy_models"][-1] == "moves" and "moves/clip" in result["reusing_models"]
    for variant in result["variants"]:
        counted = variant["counts"]["conservative"]
        reads = counted["operations"]["weight_reads_per_segment"]
        assert counted["energy_mj"]["moves/segment"] == pytest.approx(3e-9 * reads)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<th>weights</th>" in page and "reads of weights alone" in page
