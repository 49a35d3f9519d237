"""The README's config is a config, and the files it points to are there."""

from __future__ import annotations

import re
from pathlib import Path

from snn_cace.config import Experiment, read_config

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_config_in_the_readme_is_an_experiment(tmp_path: Path):
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "readme.yaml").write_text(block)
    experiment = read_config(tmp_path / "readme.yaml", Experiment)
    assert experiment.model.slots.feed_forward.spiking(experiment.model.spiking).tau == 3.0


def test_every_file_the_readme_names_exists():
    named = set(re.findall(r"\]\(([^)#:]+)\)", README)) | set(
        re.findall(r"`((?:configs|snn_cace|neurons|docs)/[\w./-]+)`", README)
    )
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []
