"""Synthetic data of AVE's size has AVE's statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snn_cace.data import ave
from snn_cace.data.check import check_directory
from snn_cace.data.labels import categories, labels_from_annotations
from snn_cace.data.synthetic import AVE_CLASS_CLIPS, AVE_CLIPS, AVE_START_CLIPS, fitted_annotations, write_synthetic


def test_fitted_parameters_are_of_all_4143_clips():
    assert sum(AVE_CLASS_CLIPS.values()) == sum(AVE_START_CLIPS.values()) == AVE_CLIPS == 4143
    assert len(AVE_CLASS_CLIPS) == 28


def test_fitted_clips_have_aves_background_share_and_whole_clip_events():
    """AVE: 17.1 % of segments are background and 66.4 % of clips are an event throughout (2750 of 4143)."""
    annotations = fitted_annotations(AVE_CLIPS, np.random.default_rng(0))
    labels = labels_from_annotations(annotations)
    assert categories(annotations) == list(AVE_CLASS_CLIPS)
    whole = np.mean([a.start == 0 and a.end == 10 for a in annotations])
    assert whole == pytest.approx(2750 / 4143, abs=0.02)
    assert labels[..., -1].mean() == pytest.approx(0.171, abs=0.02)


def test_written_directory_passes_the_check(tmp_path: Path):
    write_synthetic(tmp_path / "ave", clips=40, visual_shape=(2, 2, 5), audio_channels=4, dtype="float16")
    assert check_directory(tmp_path / "ave").problems == []
    layout = ave.read_layout(tmp_path / "ave")
    assert (layout.clips, layout.classes, layout.dtypes["visual"]) == (40, 28, "float16")
    assert sorted(np.concatenate(list(layout.orders.values())).tolist()) == list(range(40))
