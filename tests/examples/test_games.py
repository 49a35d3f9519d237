"""Clips from games: the same files again, and pictures and sound where the annotations say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("ale_py")

from write_games import GAMES, draw_plan, make_clip, write_games

from snn_cace.encoders.video import Plan, read_clip

SEED = 0


def lone(number: int) -> bool:
    """A clip with nothing where its own game is not."""
    plan = draw_plan(number, np.random.default_rng([SEED, number]))
    return plan.seen_else is None and plan.heard_else is None and not plan.visible.all() and not plan.heard.all()


def test_a_clip_is_seen_and_heard_where_its_plan_says_and_comes_out_the_same_again(tmp_path: Path):
    number = next(n for n in range(1000) if lone(n))
    plan = draw_plan(number, np.random.default_rng([SEED, number]))
    line = make_clip(tmp_path / "a.mp4", number, SEED)
    assert make_clip(tmp_path / "b.mp4", number, SEED) == line.replace("&a&", "&b&")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    clip = read_clip(tmp_path / "a.mp4", Plan(3, 105, 80, 16000))
    assert clip.notes == []
    assert ((clip.pictures.max((1, 2, 3, 4)) > 60) == plan.visible).all()
    assert ((np.abs(clip.sound[:, 1600:-1600]).max(1) > 0.005) == plan.heard).all()


def test_plans_have_an_event_and_no_sound_of_a_game_that_is_seen():
    plans = [draw_plan(n, np.random.default_rng([SEED, n])) for n in range(300)]
    assert {plan.game for plan in plans} == set(GAMES)
    for plan in plans:
        start, end = plan.event
        assert (plan.visible & plan.heard)[start:end].all() and end - start >= 3
        assert plan.game not in (plan.seen_else, plan.heard_else)
        assert plan.seen_else is None or plan.seen_else != plan.heard_else
    alone = np.mean([(plan.visible ^ plan.heard).mean() for plan in plans])
    assert alone > 0.2  # segments that either modality alone takes for the event, or misses


def test_sums_are_those_of_the_files_which_come_out_the_same_again(tmp_path: Path):
    first, second = (write_games(tmp_path / name, 12, SEED, 2) for name in ("a", "b"))
    assert first == second
    assert len((tmp_path / "a" / "Annotations.txt").read_text().splitlines()) == 12
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "a", check=True)


def test_too_few_clips_are_refused(tmp_path: Path):
    script = [sys.executable, write_games.__code__.co_filename, str(tmp_path / "games"), "--clips", "5"]
    ended = subprocess.run(script, capture_output=True, text=True)
    assert ended.returncode == 2 and "5 clips are fewer than the 12 classes" in ended.stderr


def test_games_of_another_seed_do_not_join_those_that_are_there(tmp_path: Path):
    (tmp_path / "games.json").write_text('{"seed": 3}')
    with pytest.raises(ValueError, match="holds clips of seed 3; go on with --seed 3, or choose another directory"):
        write_games(tmp_path, 12, 0, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["games.json"]
