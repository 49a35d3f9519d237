"""Spiking building blocks over SpikingJelly: neurons, surrogates, codings, readouts, norms, blocks and their controls.

Every block starts each call from rest and keeps no membrane after it, so no state leaks from one batch into the next
and nobody has to call a reset. What there is stands in `__init__.pyi`, and is imported when it is first asked for: a
config needs no torch.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
PLACES = {name.name: node.module for node in STUB.body if isinstance(node, ast.ImportFrom) for name in node.names}
__all__ = list(PLACES)


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
