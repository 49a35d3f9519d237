"""The label rule, by hand and against AVE's released label files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from snn_cace.data.labels import categories, labels_from_annotations, read_annotations
from snn_cace.errors import InputError

AVE = Path(__file__).resolve().parents[3] / "shared" / "ave"
needs_ave = pytest.mark.skipif(not AVE.is_dir(), reason="AVE's annotations are not beside this checkout")


def test_segments_start_to_end_minus_one_are_the_event(tmp_path: Path):
    file = tmp_path / "Annotations.txt"
    file.write_text("Category&VideoID&Quality&StartTime&EndTime\nDog&a&good&0&2\nCat&b&good&8&10\nDog&c&good&3&3\n")
    annotations = read_annotations(file)
    assert categories(annotations) == ["Dog", "Cat"]
    classes = labels_from_annotations(annotations).argmax(-1).tolist()
    assert classes == [[0, 0] + [2] * 8, [2] * 8 + [1, 1], [2] * 10]


@pytest.mark.parametrize("line", ["Dog&a&good&0", "Dog&a&good&x&2", "Dog&a&good&5&3", "Dog&a&good&0&11"])
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str):
    file = tmp_path / "Annotations.txt"
    file.write_text(f"Cat&b&good&0&10\n{line}\n")
    with pytest.raises(InputError, match=r"Annotations\.txt, line 2: "):
        read_annotations(file)


@needs_ave
def test_labels_equal_the_released_ones():
    annotations = read_annotations(AVE / "Annotations.txt")
    labels = labels_from_annotations(annotations)
    assert labels.shape == (4143, 10, 29)
    with h5py.File(AVE / "labels_closs.h5") as file:
        assert np.array_equal(labels[..., :28].max(-1), file["avadataset"][()])
    names = categories(annotations)
    clip_class = [names.index(annotation.category) for annotation in annotations]
    with h5py.File(AVE / "mil_labels.h5") as file:
        assert np.array_equal(np.eye(29)[clip_class], file["avadataset"][()])
