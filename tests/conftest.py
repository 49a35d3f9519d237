"""Two threads, as on the smallest machine the suite is meant for; beside another worker of pytest-xdist one: small
operations on more threads than cores wait for each other many times longer than they take.
"""

import os
from collections import Counter

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests run, too

import pytest
import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first: else one worker is left with them while the other has nothing to do."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
