"""AV-Digits keeps its promises: the rule of an event, hard background, disjoint recordings, repeatability."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from snn_cace.config import AVDigitsConfig
from snn_cace.data import avdigits, ave
from snn_cace.data.check import check_directory
from snn_cace.errors import InputError

SMALL = AVDigitsConfig(train_clips=90, val_clips=27, test_clips=27)


def timelines(count: int = 2000) -> list[avdigits.Timeline]:
    rng = np.random.default_rng(0)
    return [avdigits.draw_timeline(rng) for _ in range(count)]


def is_one_interval(present: np.ndarray) -> bool:
    return present.any() and (np.diff(np.flatnonzero(present)) == 1).all()


def test_sound_and_picture_each_last_over_one_interval_and_overlap():
    for timeline in timelines():
        assert is_one_interval(timeline.visible)
        assert is_one_interval(timeline.heard)
        assert is_one_interval(timeline.visible & timeline.heard)


def test_half_of_the_segments_are_background_most_of_it_hard():
    visible, heard = (np.array(part) for part in zip(*timelines(), strict=True))
    background = ~(visible & heard)
    assert 0.45 < background.mean() < 0.55
    assert (visible ^ heard).sum() > 0.7 * background.sum()


def test_an_event_is_where_the_class_is_both_seen_and_heard_and_nowhere_else():
    rng = np.random.default_rng(1)
    for own in range(1, 10):
        for timeline in timelines(50):
            shown = avdigits.draw_digits(rng, own, timeline)
            spoken = avdigits.draw_speakers(rng, own, timeline, shown)
            for segment in range(10):
                both = spoken[segment] != 0 and spoken[segment] in shown[segment]
                assert both == bool(timeline.visible[segment] and timeline.heard[segment])
                assert len(shown[segment]) <= 2


def test_the_number_of_digits_does_not_give_the_class_away():
    """Two digits are as likely beside the class's digit as without it."""
    rng = np.random.default_rng(2)
    counts = {True: [], False: []}
    for timeline in timelines():
        for visible, digits in zip(timeline.visible, avdigits.draw_digits(rng, 3, timeline), strict=True):
            counts[bool(visible)].append(len(digits) == 2)
    assert np.mean(counts[True]) == pytest.approx(np.mean(counts[False]), abs=0.03)


def test_splits_share_no_recording():
    for kind in ("digit_images", "speaker_features"):
        seen: set[bytes] = set()
        for split in ave.SPLITS:
            values = getattr(avdigits, kind)(split).values()
            arrays = [part[8] for part in values] if kind == "digit_images" else list(values)
            own = {row.tobytes() for array in arrays for row in array}
            assert not own & seen
            seen |= own


def test_the_same_seed_makes_the_same_clips_and_another_seed_others():
    first, second = avdigits.make_clips(SMALL, "val"), avdigits.make_clips(SMALL, "val")
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = avdigits.make_clips(AVDigitsConfig(seed=1, train_clips=90, val_clips=27, test_clips=27), "val")
    assert not np.array_equal(first.visual, other.visual)


def test_written_data_has_no_problem_and_is_never_overwritten(tmp_path: Path):
    avdigits.write_avdigits(tmp_path / "av", SMALL)
    summary = check_directory(tmp_path / "av")
    assert summary.problems == []
    assert "visual features  [144, 10, 7, 7, 16] float32" in summary.lines
    before = (tmp_path / "av" / "labels.h5").read_bytes()
    with pytest.raises(InputError, match=r"holds visual_feature\.h5 already"):
        avdigits.write_avdigits(tmp_path / "av", SMALL)
    assert (tmp_path / "av" / "labels.h5").read_bytes() == before


def test_patches_are_the_canvas_in_a_grid():
    frame = np.arange(28 * 28).reshape(1, 1, 28, 28)
    patches = avdigits.to_patches(frame)
    assert patches.shape == (1, 1, 7, 7, 16)
    assert patches[0, 0, 2, 3].tolist() == frame[0, 0, 8:12, 12:16].ravel().tolist()


def test_the_cache_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SNN_CACE_CACHE", str(tmp_path))
    directory = avdigits.cached_avdigits(SMALL)
    stamp = (directory / "labels.h5").stat().st_mtime_ns
    assert avdigits.cached_avdigits(SMALL) == directory
    assert (directory / "labels.h5").stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]
    with h5py.File(directory / "train_order.h5") as file:
        assert file["order"][()].tolist() == list(range(90))
