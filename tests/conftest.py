"""Two threads, as on the smallest machine the suite is meant for; beside another worker of pytest-xdist one: small
operations on more threads than cores wait for each other many times longer than they take.
"""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests run, too
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # where a test takes two all the same, they sleep while they wait

import torch

from snn_cace.processes import look_at_old_objects_seldom

look_at_old_objects_seldom()
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: as the last one, such a file keeps one worker busy while the other waits."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup() -> None:
    """What a test draws without a seed of its own does not depend on the tests before it."""
    torch.manual_seed(0)


def pytest_runtest_call() -> None:
    """Nor on the fixtures that were made for it alone."""
    torch.manual_seed(0)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose figures are made but not written, for tests of all else: writing takes seconds."""
    from snn_cace.report import figures

    monkeypatch.setattr(figures, "save", lambda figure, directory, name: "")
