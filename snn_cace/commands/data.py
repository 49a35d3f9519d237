"""The verbs that begin with `data`."""

from __future__ import annotations

from typing import Literal

from snn_cace.config import AVDigitsConfig, PositiveInt, Seed
from snn_cace.data.synthetic import AVE_CLIPS
from snn_cace.errors import InputError


def check(directory: str, /, reader: str = "ave") -> None:
    """What a directory holds, and every problem in it.

    Args:
        directory: in AVE's layout, or in that of another reader.
        reader: which, as `data.reader` names it.
    """
    from snn_cace.data.check import check_directory

    summary = check_directory(directory, reader)
    for line in [*summary.lines, *(f"problem: {problem}" for problem in summary.problems)]:
        print(line)
    if summary.problems:
        raise InputError(f"{directory} has {len(summary.problems)} problem(s), listed above")
    print("no problem found")


def labels(directory: str, /, annotations: str | None = None) -> None:
    """Make labels.h5 from AVE's annotations.

    Args:
        directory: to write it into.
        annotations: file of annotations; DIRECTORY/Annotations.txt where it is left out.
    """
    from snn_cace.data.labels import write_labels

    print(write_labels(directory, annotations))


def certify(directory: str, /, against: str, clips: PositiveInt = 200) -> None:
    """How close features extracted here are to released ones of the same clips, class by class.

    Args:
        directory: in AVE's layout, with Annotations.txt, as `extract` writes it.
        against: directory of released features, visual_feature.h5 or audio_feature.h5 or both, of all clips or a few,
            with their lines of Annotations.txt.
        clips: how many are compared at most, evenly spaced.
    """
    from snn_cace.data.certify import certify as compared

    found = compared(directory, against, clips)
    for one in found:
        print("\n".join(one.lines()))
    others = [one.modality for one in found if one.verdict == "other features"]
    if others:
        raise InputError(f"{directory}: the {' and '.join(others)} features are other features than those of {against}")


def avdigits(directory: str, /, seed: Seed = AVDigitsConfig.seed) -> None:
    """Write AV-Digits, the embedded data set, in AVE's layout.

    Args:
        directory: to make.
        seed: of the drawing of clips.
    """
    from snn_cace.data.avdigits import write_avdigits

    config = AVDigitsConfig(seed)
    write_avdigits(directory, config)
    splits = f"{config.train_clips} training, {config.val_clips} validation and {config.test_clips} test clips"
    print(f"{splits}: {directory}")


def synthetic(
    directory: str,
    /,
    clips: PositiveInt = AVE_CLIPS,
    visual_shape: list[PositiveInt] = [7, 7, 512],  # noqa: B006
    audio_channels: PositiveInt = 128,
    dtype: Literal["float16", "float32", "float64"] = "float32",
    seed: Seed = 0,
) -> None:
    """Write random features of AVE's size and statistics, for benchmarks.

    Args:
        directory: to make.
        clips: all splits together.
        visual_shape: height and width in patches, and channels, of a segment.
        audio_channels: of a segment.
        dtype: of features.
        seed: of the random features.
    """
    from snn_cace.data.synthetic import write_synthetic

    if len(visual_shape) != 3:
        raise InputError(f"data synthetic: --visual-shape takes three numbers, H W Cv, not {len(visual_shape)}")
    height, width, channels = visual_shape
    shape = (height, width, channels)
    write_synthetic(directory, clips, shape, audio_channels, dtype, seed)
    print(f"{clips} clips: {directory}")
