"""The label rule, by hand and against AVE's released label files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from small import CLASSES, CLIPS, SEGMENTS, ave_reader, write_ave

from snn_cace.config import DataConfig
from snn_cace.data import ave
from snn_cace.data.batches import ClipData, ClipDataset
from snn_cace.data.check import check_directory
from snn_cace.data.labels import categories, class_names, labels_from_annotations, read_annotations, write_labels
from snn_cace.errors import InputError
from snn_cace.training.losses import targets_from_labels

AVE = Path(__file__).resolve().parents[3] / "shared" / "ave"
needs_ave = pytest.mark.skipif(not AVE.is_dir(), reason="AVE's annotations are not beside this checkout")


def test_segments_start_to_end_minus_one_are_the_event(tmp_path: Path):
    file = tmp_path / "Annotations.txt"
    file.write_text("Category&VideoID&Quality&StartTime&EndTime\nDog&a&good&0&2\nCat&b&good&8&10\nDog&c&good&3&3\n")
    annotations = read_annotations(file)
    assert categories(annotations) == ["Dog", "Cat"]
    classes = labels_from_annotations(annotations).argmax(-1).tolist()
    assert classes == [[0, 0] + [2] * 8, [2] * 8 + [1, 1], [2] * 10]


@pytest.mark.parametrize(
    "line",
    [
        "Dog&a&good&0",
        "Dog&a&good&x&2",
        "Dog&a&good&5&3",
        "Dog&a&good&0&11",
        "Dog&a&good&0&²",
        f"Dog&a&b&0&{'9' * 5000}",
        " &a&good&0&2",
        "Dog& &good&0&2",
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str):
    file = tmp_path / "Annotations.txt"
    file.write_text(f"Cat&b&good&0&10\n{line}\n")
    with pytest.raises(InputError, match=r"Annotations\.txt, line 2: "):
        read_annotations(file)


def test_annotations_that_are_no_text_are_refused_in_one_line(tmp_path: Path):
    (tmp_path / "Annotations.txt").write_bytes(b"Caf\xe9&a&good&0&2\n")
    with pytest.raises(InputError, match=r"Annotations\.txt is not readable as text in UTF-8"):
        read_annotations(tmp_path / "Annotations.txt")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n"])
@pytest.mark.parametrize(
    "header", ["", "Category&VideoID&Quality&StartTime&EndTime", "Category & VideoID&Quality& Start & End"]
)
def test_marks_and_blanks_around_fields_say_nothing(tmp_path: Path, mark: str, end: str, header: str):
    file = tmp_path / "Annotations.txt"
    lines = [
        *filter(None, [header]),
        "Church bell&a&good&0&2",
        "Church bell &b& good &0\t& 2",
        "",
        "\u00a0Goat& c&good&1&3",
    ]
    file.write_bytes((mark + end.join(lines)).encode())
    found = read_annotations(file)
    assert [tuple(one) for one in found] == [
        ("Church bell", "a", "good", 0, 2), ("Church bell", "b", "good", 0, 2), ("Goat", "c", "good", 1, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("other", ["bark", "B ark", "BARK", "\uff22ark"])
def test_a_category_that_differs_in_case_or_blanks_alone_is_no_class_of_its_own(tmp_path: Path, other: str):
    (tmp_path / "Annotations.txt").write_text(f"Bark&a&good&0&2\nGoat&b&good&0&2\n{other}&c&good&0&2\n")
    said = rf"Annotations\.txt, line 3: '{other}' is 'Bark' but for case or blanks; write them as one"
    with pytest.raises(InputError, match=said):
        read_annotations(tmp_path / "Annotations.txt")
    write_ave(tmp_path)
    assert any("line 3" in problem for problem in check_directory(tmp_path).problems)


def test_characters_without_width_make_no_class(tmp_path: Path):
    text = "\ufeff\ufeffBark&a&good&0&2\n\u200bBark&b&good&0&2\nBa\u200brk\ufeff &c&good&0&2\nGoat\u200b&d&good&0&2\n"
    (tmp_path / "Annotations.txt").write_text(text, encoding="utf-8")
    assert [one.category for one in read_annotations(tmp_path / "Annotations.txt")] == ["Bark"] * 3 + ["Goat"]
    (tmp_path / "classes.txt").write_text("\ufeff\u200bBark\nGoat\u200b\n", encoding="utf-8")
    assert class_names(tmp_path, 2) == ["Bark", "Goat", "background"]


@pytest.fixture
def renumbered(tmp_path: Path) -> Path:
    """Annotations that name dog, cat and cow first in this order; labels number cow, dog and cat."""
    names = ["dog", "cat", "cow"]
    lines = [f"{names[row % 3]}&clip{row}&good&{row % 4}&{row % 4 + 5}\n" for row in range(CLIPS)]
    (tmp_path / "Annotations.txt").write_text("".join(lines))
    made = labels_from_annotations(read_annotations(tmp_path / "Annotations.txt"))
    return write_ave(tmp_path, labels=made[..., [2, 0, 1, 3]])


def test_a_renumbering_of_the_classes_is_recognised_and_names_follow_the_labels(renumbered: Path):
    assert class_names(renumbered, CLASSES) == ["cow", "dog", "cat", "background"]
    summary = check_directory(renumbered)
    assert summary.problems == []
    assert any("numbers the classes in another order than Annotations.txt" in line for line in summary.lines)


def test_labels_that_differ_beyond_their_numbering_are_a_problem(renumbered: Path):
    path = renumbered / "labels.h5"
    with h5py.File(path, "a") as file:
        file["avadataset"][7] = np.eye(CLASSES + 1)[[CLASSES] * SEGMENTS]
    (problem,) = check_directory(renumbered).problems
    assert problem.endswith("labels.h5 disagree in 1 rows, first in row 7")


def test_classes_txt_names_the_classes_wherever_they_are_named(renumbered: Path):
    (renumbered / "classes.txt").write_bytes(b"\xef\xbb\xbfcow\r\ndog \r\n cat\r\n")
    assert class_names(renumbered, CLASSES) == ["cow", "dog", "cat", "background"]
    assert check_directory(renumbered).problems == []
    (renumbered / "labels.h5").unlink()
    write_labels(renumbered)
    with ave.opened(renumbered / "labels.h5") as labels:
        assert labels[0, 0].argmax() == 1
    (renumbered / "classes.txt").write_text("dog\ncat\ncow\n")
    (problem,) = check_directory(renumbered).problems
    assert "classes.txt calls class 0 'dog'" in problem
    assert problem.endswith("Annotations.txt 'cow'")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cow\ndog\n", "holds 2 names, but labels.h5 has 3 classes"),
        ("cow\ndog\ncow\n", "'cow' is there twice"),
        ("cow\ndog\nCow\n", "'Cow' is there twice"),
        ("cow\n\ncat\n", "a name is missing"),
        ("background\ncow\ndog\n", "background is not last"),
        ("", "a name is missing"),
    ],
)
def test_a_classes_txt_that_does_not_fit_is_refused(renumbered: Path, content: str, said: str):
    (renumbered / "classes.txt").write_text(content)
    with pytest.raises(InputError, match=said):
        class_names(renumbered, CLASSES)
    assert any(said in problem for problem in check_directory(renumbered).problems)


def test_annotations_that_lack_a_class_of_classes_txt_are_refused(renumbered: Path):
    (renumbered / "labels.h5").unlink()
    (renumbered / "classes.txt").write_text("cow\ndog\nowl\n")
    with pytest.raises(InputError, match=r"classes\.txt lacks 'cat', a category of the annotations"):
        write_labels(renumbered)


def test_videos_in_two_splits_are_counted(tmp_path: Path):
    """Of clips 0 to 11, videos a (0, 4), b (1, 8) and c (5, 11) lie in two splits; d (2, 3) in one alone."""
    videos = ["a", "b", "d", "d", "a", "c", "e", "f", "b", "g", "h", "c"]
    lines = [f"{'xyz'[row % 3]}&{video}&good&0&2\n" for row, video in enumerate(videos)]
    write_ave(tmp_path, orders={"train": [0, 1, 2, 3], "val": [4, 5, 6, 7], "test": [8, 9, 10, 11]})
    (tmp_path / "Annotations.txt").write_text("".join(lines))
    said = "shared videos    3 lie in two splits, a for one: 1 in train and val, 1 in train and test, 1 in val and test"
    assert said in check_directory(tmp_path).lines
    (tmp_path / "labels.h5").unlink()
    assert said in check_directory(tmp_path).lines, "splits and annotations say it alone"
    (tmp_path / "Annotations.txt").write_text("".join(f"x&v{row}&good&0&2\n" for row in range(12)))
    assert not any("shared" in line for line in check_directory(tmp_path).lines)


@needs_ave
def test_ave_s_own_splits_share_videos():
    (line,) = check_directory(AVE).lines
    assert (
        line.startswith("shared videos    18 lie in two splits") and "10 in train and val, 8 in train and test" in line
    )


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
        of_segments = targets_from_labels(torch.from_numpy(labels)).clip_labels
        # One clip is annotated from 0 to 0: a church bell without a segment.
        assert np.flatnonzero((of_segments.numpy() != file["avadataset"][()]).any(1)).tolist() == [26]


def bad_labels(row: list[float]) -> np.ndarray:
    """Labels as `write_ave` has them, but for segment 2 of row 10, a clip of the test split."""
    labels = np.eye(CLASSES + 1)[np.full((CLIPS, SEGMENTS), CLASSES)]
    labels[10, 2] = row
    return labels


BAD_ROWS = [[0, 0, 0, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0.5, 0, 0.5], [0, 2, 0, 0], [0, -1, 1, 1], [0, 0, 0, 255]]


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_segment_that_has_not_one_class_is_refused_before_anything_is_trained(tmp_path: Path, row: list[float]):
    write_ave(tmp_path, labels=bad_labels(row))
    message = r"labels\.h5: row 10, segment 2 is not one-hot: "
    with pytest.raises(InputError, match=message):
        ClipData(DataConfig(str(tmp_path)), torch.float32)
    for keep_in in ("disk", "memory"):
        with pytest.raises(InputError, match=message):
            ClipDataset(ave_reader(tmp_path), np.array([3, 11, 10]), torch.float32, keep_in=keep_in)[2]
        ClipDataset(ave_reader(tmp_path), np.array([3, 11, 9]), torch.float32, keep_in=keep_in)[2]
    assert any("row 10, segment 2 is not one-hot" in problem for problem in check_directory(tmp_path).problems)
    with pytest.raises(ValueError, match="labels must be one-hot"):
        targets_from_labels(torch.tensor([[row, [0, 0, 0, 1]]]))


def test_labels_that_are_no_numbers_are_refused(tmp_path: Path):
    write_ave(tmp_path, labels=bad_labels([np.nan] * 4))
    with pytest.raises(InputError, match=r"labels\.h5: row 10 holds NaN"):
        ClipData(DataConfig(str(tmp_path)), torch.float32)
    with pytest.raises(ValueError, match="labels must be one-hot"):
        targets_from_labels(torch.full((1, 1, 4), np.nan))


def test_a_row_of_no_split_is_refused_only_where_it_is_read(tmp_path: Path):
    write_ave(tmp_path, labels=bad_labels([0, 0, 0, 0]), orders={"train": [0, 1], "val": [2], "test": [3]})
    data = ClipData(DataConfig(str(tmp_path)), torch.float32)
    assert len(data.dataset("test")) == 1
    with pytest.raises(InputError, match="row 10"):
        data.dataset("all")


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [0, 0.5, 0, 0.5], [0, -1, 1, 1]])
def test_labels_of_clips_are_ones_among_zeros(tmp_path: Path, row: list[float]):
    write_ave(tmp_path)
    labels = np.eye(CLASSES + 1)[np.zeros(CLIPS, int)]
    labels[4] = row
    with h5py.File(tmp_path / "mil_labels.h5", "w") as file:
        file["avadataset"] = labels
    with pytest.raises(
        InputError, match=r"mil_labels\.h5: each clip needs one class or more, as ones among zeros; row 4 has"
    ):
        ClipData(DataConfig(str(tmp_path)), torch.float32, supervision="weak")
