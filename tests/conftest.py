"""Two threads, as on the smallest machine the suite is meant for; beside another worker of pytest-xdist one: small
operations on more threads than cores wait for each other many times longer than they take.
"""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests run, too
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # where a test takes two all the same, they sleep while they wait

import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose figures are made but not written, for tests of all else: writing takes seconds."""
    from snn_cace.report import figures

    monkeypatch.setattr(figures, "save", lambda figure, directory, name: "")
