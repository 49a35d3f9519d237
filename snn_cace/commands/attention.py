"""The verb `attention`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from snn_cace.commands import Split, extra_packages, fitting_data, writing
from snn_cace.config import Experiment, PositiveInt
from snn_cace.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from snn_cace.data.batches import ClipData
    from snn_cace.training.checkpoints import Trained

PICTURE = 112
"""Height and width, in pixels, of pictures read from videos."""


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
    import numpy as np

    from snn_cace.analysis.attention import attention_maps, digit_places, pointing
    from snn_cace.data.labels import class_names
    from snn_cace.files import write_json
    from snn_cace.report.attention import write_attention_report
    from snn_cace.training.checkpoints import load_checkpoint
    from snn_cace.training.metrics import segment_predictions

    data = fitting_data(trained, experiment)
    dataset = data.dataset(split)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(clips, len(dataset))).astype(int))
    drawn = dataset.__getitems__(chosen.tolist())
    shown = pictures(data, dataset.rows[chosen], drawn["visual"].float().numpy(), experiment, videos)
    result: dict[str, Any] = {"classes": class_names(data.directory, data.shape.classes), "networks": [], "map": map}
    result["clips"] = drawn_clips(dataset.rows[chosen], drawn["labels"].argmax(-1).tolist(), shown)
    if experiment.data.directory is None:
        every, places = dataset.__getitems__(range(len(dataset))), digit_places(experiment.data.avdigits, dataset.rows)
    with writing(output, "attention.json") as path:
        for one in [trained, *(load_checkpoint(other) for other in beside)]:
            network = one.network.to("cpu", drawn["visual"].dtype).eval()
            if network.shape != data.shape:
                raise InputError(f"{data.directory} has {data.shape}, the network of {one.path} {network.shape}")
            name = f"{one.experiment.name}, seed {one.experiment.training.seed}"
            points = None
            if experiment.data.directory is None:
                found = pointing(network, every["visual"], every["audio"], every["labels"], places)
                points = {key: asdict(value) for key, value in found.items()}
            result["networks"].append({"name": name, "guidance": one.experiment.model.guidance, "pointing": points})
            weights = attention_maps(network, drawn["visual"], drawn["audio"])[map]
            predicted = segment_predictions(network(drawn["visual"], drawn["audio"]))
            for place, clip in enumerate(result["clips"]):
                clip["networks"].append(
                    {"name": name, "weights": weights[place].tolist(), "predicted": predicted[place].tolist()}
                )
        write_json(path, result)
        print(f"{write_attention_report(result, path.parent)}{path}")


def drawn_clips(rows: np.ndarray, truth: list[list[int]], shown: np.ndarray) -> list[dict[str, Any]]:
    """The clips at `rows` as attention.json has them, before any network."""
    return [
        {"index": int(row), "truth": classes, "pictures": seen.round(3).tolist(), "networks": []}
        for row, classes, seen in zip(rows, truth, shown, strict=True)
    ]


def pictures(
    data: ClipData, rows: np.ndarray, visual: np.ndarray, experiment: Experiment, videos: str | None
) -> np.ndarray:
    """What was seen in the clips at `rows`, `[N, T, height, width]` or with three colours, in [0, 1]."""
    import numpy as np

    from snn_cace.data.ave import ANNOTATIONS
    from snn_cace.data.labels import read_annotations

    if videos is not None:
        with extra_packages("attention --videos", "extract"):
            from snn_cace.encoders.media import video_files
            from snn_cace.encoders.video import Plan, UnusableVideoError, read_clip

        annotations = read_annotations(Path(data.directory) / ANNOTATIONS)
        seen, plan = [], Plan(1, PICTURE, PICTURE, 16000)
        for row in rows:
            (file,) = video_files(Path(videos), [annotations[row]])
            assert file is not None, "else it is an InputError"
            try:
                seen.append(read_clip(file, plan).pictures[:, 0] / 255)
            except UnusableVideoError as error:
                raise InputError(f"{file}: {error}; choose other --clips") from None
        return np.stack(seen)
    if experiment.data.directory is None:
        from snn_cace.data.avdigits import to_pictures

        return to_pictures(visual)
    mean = visual.mean(-1)
    return (mean / np.maximum(mean.max((1, 2, 3), keepdims=True), 1e-9)).clip(0, 1)
