"""Features beside released ones: the same, close, or others; what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from small import CLIPS, SEGMENTS, write_ave

from snn_cace.cli import main
from snn_cace.data.certify import certify, likeness
from snn_cace.errors import InputError

AUDIO = np.maximum(np.random.default_rng(1).standard_normal((CLIPS, SEGMENTS, 64)), 0)


def put(directory: Path, audio: np.ndarray, rows: list[int]) -> Path:
    write_ave(directory, visual=np.ones((len(rows), SEGMENTS, 1, 1, 2)), audio=audio[rows], clips=len(rows))
    lines = [f"class {row % 3}&clip{row}&good&0&5\n" for row in rows]
    (directory / "Annotations.txt").write_text("".join(lines))
    return directory


def test_likeness_by_hand():
    first, second = np.array([[3.0, 4.0, 0.0]]), np.array([[4.0, 3.0, 0.0]])
    # Cosine 24 / 25; ranks 2, 3, 1 and 3, 2, 1: their correlation is 1 / 2.
    assert likeness(first, second) == pytest.approx((0.96, 0.5))
    assert likeness(0 * first, 0 * second) == (1.0, 1.0)
    assert likeness(first, 0 * second) == (0.0, 0.0)
    # Neither depends on the scale, and ranks on no monotonic function.
    assert likeness(first, 7 * first) == pytest.approx((1.0, 1.0))
    assert likeness(first, first**3)[1] == pytest.approx(1.0)


def test_clips_are_found_by_their_annotations_in_any_order(tmp_path: Path):
    ours = put(tmp_path / "ours", AUDIO, list(range(CLIPS)))
    theirs = put(tmp_path / "theirs", AUDIO, [7, 2, 11])
    audio = next(found for found in certify(ours, theirs, 200) if found.modality == "audio")
    assert audio.categories == ["class 2", "class 1", "class 2"]
    assert audio.own == pytest.approx(1.0) and (audio.other < 0.6).all()
    assert audio.verdict == "the same" and audio.agreement() == pytest.approx(1.0)


@pytest.mark.parametrize(("noise", "verdict"), [(0.0, "the same"), (0.3, "close"), (30.0, "other features")])
def test_the_verdict_and_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture, noise: float, verdict: str):
    changed = AUDIO + noise * np.random.default_rng(2).random(AUDIO.shape)
    put(tmp_path / "ours", changed, list(range(CLIPS)))
    (tmp_path / "ours" / "visual_feature.h5").unlink()
    put(tmp_path / "theirs", AUDIO, list(range(6)))
    code = main(["data", "certify", str(tmp_path / "ours"), "--against", str(tmp_path / "theirs")])
    printed = capsys.readouterr()
    assert f"verdict: audio features are {verdict}: agreement" in printed.out
    assert [line.split()[:3] for line in printed.out.splitlines()[1:4]] == [["class", str(k), "2"] for k in range(3)]
    assert (code, "other features" in printed.err) == ((2, True) if verdict == "other features" else (0, False))


def test_what_cannot_be_compared_is_told(tmp_path: Path):
    ours, theirs = put(tmp_path / "ours", AUDIO, [0, 1, 2]), put(tmp_path / "theirs", AUDIO, [2, 3, 4])
    with pytest.raises(InputError, match=r"share 1 lines of Annotations\.txt; two or more"):
        certify(ours, theirs, 200)
    put(theirs, AUDIO[..., :5], [0, 1, 2])
    with pytest.raises(InputError, match=r"audio_feature\.h5 has clips of \[10, 64\], .* of \[10, 5\]; extract with"):
        certify(ours, theirs, 200)
    for name in ("audio", "visual"):
        (theirs / f"{name}_feature.h5").unlink()
    with pytest.raises(InputError, match=r"share none of visual_feature\.h5, audio_feature\.h5"):
        certify(ours, theirs, 200)
    with h5py.File(theirs / "audio_feature.h5", "w") as file:
        file["avadataset"] = AUDIO[:2]
    with pytest.raises(InputError, match=r"audio_feature\.h5 has 2 clips, fewer than .*Annotations\.txt"):
        certify(ours, theirs, 200)
