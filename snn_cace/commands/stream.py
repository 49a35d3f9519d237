"""The verb `stream`."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_cace.commands import Split, StreamExecution, extra_packages, fitting_data, writing
from snn_cace.config import ClosedUnitInterval, Experiment, PositiveInt
from snn_cace.errors import InputError

if TYPE_CHECKING:
    import torch

    from snn_cace.data.batches import ClipData
    from snn_cace.export.stream import SegmentResult
    from snn_cace.training.checkpoints import Trained


def stream(
    trained: Trained,
    experiment: Experiment,
    output: str | None = None,
    video: str | None = None,
    split: Split = "test",
    clips: PositiveInt | None = None,
    confidence: ClosedUnitInterval | None = None,
    continuous: bool = False,
    execution: StreamExecution = "dense",
) -> None:
    """A causal checkpoint run segment by segment, each printed as soon as it is there.

    Args:
        output: directory to write segments.jsonl into, a line for each segment, with its clip and true class.
        video: a media file of any length, encoded as `extract` encoded the training data.
        split: which clips, where there is no --video.
        clips: how many of them, from the first on; all where it is left out.
        confidence: run a segment with 1, 2, 4, ... simulation steps until the network is so confident; the steps
            printed are those of all these runs.
        continuous: go on from clip to clip, instead of starting anew at each.
        execution: dense; event, where linear layers skip zeros; event-int8, which also rounds their weights to 8 bits;
            auto, where each skips zeros if that was faster when it was first timed; or onnx, where ONNX Runtime runs
            each segment, exported at the first. On a CPU.
    """
    from snn_cace.export.stream import Stream, TorchStep
    from snn_cace.files import write_text
    from snn_cace.runtime import executing, pick_device

    data = fitting_data(trained, experiment)
    names = data.reader.class_names()
    device = experiment.training.device
    segments = segments_of_video(Path(video), data, device) if video else of_split(data, split, clips, names)
    make_step: Callable[..., Any] = TorchStep
    if execution == "onnx":
        with extra_packages("stream --execution onnx", "export"):
            from snn_cace.export.step import OnnxStep
        make_step = OnnxStep
    lines: list[dict[str, Any]] = []
    with (
        executing(trained.network, execution, pick_device(device)) as network,
        writing(output, "segments.jsonl") if output else nullcontext() as path,
    ):
        running = Stream(network, experiment, confidence, make_step)
        most = f" of {' + '.join(map(str, running.steps))}" if len(running.steps) > 1 else ""
        for first, visual, audio, known in segments:
            if first and not continuous:
                running.reset()
            found = running.step(visual, audio)
            plain = dataclasses.asdict(found) | {"class_probabilities": found.class_probabilities.tolist()}
            lines.append(known | plain | {"name": names[found.segment_class]})
            print(line_of(found, names, known.get("target_name"), most), flush=True)
        if path is not None:
            write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    right = [line["segment_class"] == line["segment_target"] for line in lines if "segment_target" in line]
    middle = statistics.median(line["seconds"] for line in lines)
    accuracy = f", segment accuracy {100 * sum(right) / len(right):.2f} %" if right else ""
    spikes, steps = (sum(line[what] for line in lines) / len(lines) for what in ("spikes", "steps"))
    fired = f", {spikes:,.0f} spikes in {steps:.2f}{most} steps a segment" if steps else ""
    print(f"{len(lines)} segments, median {1000 * middle:.1f} ms{fired}{accuracy}")


def line_of(found: SegmentResult, names: list[str], target: str | None, most: str) -> str:
    fired = f", {found.spikes:,} spikes in {found.steps}{most} steps" if found.steps else ""
    truth = "" if target is None else f", is {target}"
    return (
        f"{found.segment:6d}  {names[found.segment_class]:24s} {100 * found.confidence:5.1f} %  "
        f"{1000 * found.seconds:6.1f} ms{fired}{truth}"
    )


Segment = tuple[bool, "torch.Tensor", "torch.Tensor", dict[str, Any]]
"""Whether a clip begins with it, visual `[H, W, Cv]`, audio `[Ca]`, and what is known of it: `clip`, its number in the
split, from 0; `index`, its row on disk, as `predict` writes it; `segment_target` and `target_name`, its true class.
"""


def of_split(data: ClipData, split: str, clips: int | None, names: list[str]) -> Iterator[Segment]:
    dataset = data.dataset(split)
    for index in range(min(len(dataset), clips or len(dataset))):
        clip = dataset[index]
        for t in range(int(clip.get("lengths", len(clip["audio"])))):
            target = int(clip["labels"][t].argmax())
            known = {"clip": index, "index": int(clip["index"]), "segment_target": target, "target_name": names[target]}
            yield t == 0, clip["visual"][t], clip["audio"][t], known


def segments_of_video(video: Path, data: ClipData, device: str) -> Iterator[Segment]:
    """The segments of a media file, encoded on `device` as the features of `data` were.

    Raises:
        InputError: features that `extract` has not made, or a file that cannot be decoded.
    """
    import torch

    with extra_packages("stream --video", "extract"):
        from snn_cace.encoders.video import Plan, UnusableVideoError, read_segments
    from snn_cace.encoders.audio import audio_encoder
    from snn_cace.encoders.visual import visual_encoder
    from snn_cace.files import read_json
    from snn_cace.runtime import pick_device

    written = data.directory / "extraction.json"
    if not written.is_file():
        raise InputError(
            f"{data.directory} has no extraction.json: its features were made elsewhere, so --video cannot be"
        )
    made = read_json(written)["settings"]
    visual = visual_encoder(made["visual"], made["visual_weights"], made["frames"])
    visual.network.to(pick_device(device))
    audio = audio_encoder(made["audio"], made["audio_weights"], made.get("audio_pca"))
    plan = Plan(made["frames"], *visual.size, audio.sample_rate)
    notes: list[str] = []
    try:
        for number, (pictures, sound) in enumerate(read_segments(video, plan, notes)):
            features = visual.of_segments(torch.from_numpy(pictures[None]), goes_on=number > 0)[0].float().cpu()
            yield number == 0, features, audio(torch.from_numpy(sound[None]))[0].cpu(), {}
    except UnusableVideoError as error:
        raise InputError(f"{video}: {error}") from None
    for note in notes:
        print(f"noted: {video}: {note}")
