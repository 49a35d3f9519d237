"""The verb `attention`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from snn_cace.commands import Split, extra_packages, fitting_data, refuse_misfit, writing
from snn_cace.config import Experiment, PositiveInt
from snn_cace.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from snn_cace.data.batches import ClipData
    from snn_cace.training.checkpoints import Trained

PICTURE, PICTURES_A_SEGMENT, SAMPLE_RATE = 112, 4, 16000
"""Of what is read from videos: height and width in pixels, pictures, and sound, which is not used."""


def attention(
    trained: Trained,
    experiment: Experiment,
    output: str,
    beside: list[str] = [],  # noqa: B006
    split: Split = "test",
    clips: PositiveInt = 4,
    map: Literal["spatial", "self_spatial"] = "spatial",
    videos: str | None = None,
) -> None:
    """Where guidance attention looks, drawn over the pictures of clips; on AV-Digits, how often it points at the digit.

    Args:
        output: directory to write attention.json, attention.md and figures into.
        beside: further checkpoints or run directories on the same data.
        split: which clips.
        clips: how many are drawn, evenly spaced over the split.
        map: weights guided by the sound (spatial) or by the picture alone (self_spatial).
        videos: directory of the clips' videos, whose pictures are drawn over; without it, the mean over channels.
    """
    from dataclasses import asdict

    from snn_cace.analysis.attention import record_attention, side_by_side, spread
    from snn_cace.files import write_json
    from snn_cace.report.attention import write_attention_report
    from snn_cace.training.checkpoints import load_checkpoint

    data = fitting_data(trained, experiment)
    if data.shape.labels != "single":
        raise InputError(f"{data.directory}: attention names one class a segment, and this data has several")
    dataset = data.dataset(split)
    chosen = spread(dataset, clips)
    pictures = None if videos is None else watched(data, dataset.rows[chosen], Path(videos))
    records, networks = {}, []
    with writing(output, "attention.json") as path:
        for one in [trained, *(load_checkpoint(other) for other in beside)]:
            refuse_misfit(data, one)
            name = f"{one.experiment.name}, seed {one.experiment.training.seed}"
            name += f" of {one.path}" if name in records else ""
            record = record_attention(one.network, dataset, chosen, map, pictures)
            records[name] = record
            networks.append(
                {"name": name, "guidance": one.experiment.model.guidance, "pointing": asdict(record)["pointing"]}
            )
        classes = data.reader.class_names()
        result = {"classes": classes, "networks": networks, "map": map, "clips": side_by_side(records)}
        write_json(path, result)
        text = write_attention_report(result, path.parent)
        print(f"{text}{path}")


def watched(data: ClipData, rows: np.ndarray, videos: Path) -> np.ndarray:
    """Each segment's first picture of the clips at `rows`, from their videos: `[N, T, height, width, 3]` in [0, 1]."""
    import numpy as np

    from snn_cace.data.ave import ANNOTATIONS
    from snn_cace.data.labels import read_annotations

    with extra_packages("attention --videos", "extract"):
        from snn_cace.encoders.media import video_files
        from snn_cace.encoders.video import Plan, UnusableVideoError, read_clip

    annotations = read_annotations(Path(data.directory) / ANNOTATIONS)
    seen, plan = [], Plan(PICTURES_A_SEGMENT, PICTURE, PICTURE, SAMPLE_RATE)
    for row in rows:
        (file,) = video_files(videos, [annotations[row]])
        assert file is not None, "else it is an InputError"
        try:
            seen.append(read_clip(file, plan).pictures[:, 0] / 255)
        except UnusableVideoError as error:
            raise InputError(f"{file}: {error}; choose other --clips") from None
    return np.stack(seen)
