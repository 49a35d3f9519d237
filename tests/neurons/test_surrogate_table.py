"""The formulas in the documentation are what the surrogates compute."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from neurons import SURROGATES, make_surrogate
from neurons.surrogate import parameter_names

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("surrogates", ROOT / "scripts" / "surrogates.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def documented(name: str, u: np.ndarray) -> np.ndarray:
    """The table's expression at `u`, with the surrogate's default parameters."""
    built = make_surrogate(name)
    parameters = {parameter: getattr(built, parameter) for parameter in parameter_names(name)}
    functions = {function: getattr(np, function) for function in ("exp", "sqrt", "pi", "where", "cos", "minimum")}
    sigmoid = {"sigmoid": lambda x: 1 / (1 + np.exp(-x))}
    return eval(script.SLOPES[name], functions | sigmoid | parameters | {"u": u})


@pytest.mark.parametrize("name", SURROGATES)
def test_the_table_states_the_slope(name: str):
    u = np.array([-1.7, -0.9, -0.4, -0.13, 0.07, 0.3, 0.8, 1.6])
    np.testing.assert_allclose(script.slope(name, torch.from_numpy(u)), documented(name, u), rtol=1e-6, atol=1e-12)


def test_the_committed_table_is_what_the_script_writes():
    assert script.table() in (ROOT / "docs" / "explanations" / "surrogates.md").read_text()
