"""The examples in docstrings of `neurons`, and of the modules that speed networks up, give what they say."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest
import torch

import neurons

GLOBALS = {"torch": torch, "nn": torch.nn} | {name: getattr(neurons, name) for name in neurons.__all__}
MODULES = [name for _, name, _ in pkgutil.walk_packages(neurons.__path__, "neurons.") if not name.endswith("_cuda")]
MODULES += ["snn_cace.model.braincog"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name: str):
    module = import_module(name)
    torch.manual_seed(0)
    found = doctest.testmod(
        module, extraglobs={"torch": torch, "nn": torch.nn} | {name: getattr(neurons, name) for name in neurons.__all__}
    )
    assert found.failed == 0


def test_every_public_class_has_an_example():
    classes = [getattr(neurons, name) for name in neurons.__all__ if inspect.isclass(getattr(neurons, name))]
    missing = [c.__name__ for c in classes if ">>>" not in (inspect.getdoc(c) or "")]
    assert missing == []
