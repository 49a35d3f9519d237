"""The verb `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from snn_cace.commands import extra_packages, fitting_data
from snn_cace.config import Experiment, PositiveInt, refuse_drawn
from snn_cace.errors import InputError
from snn_cace.processes import refuse_used, sole_writer

if TYPE_CHECKING:
    import torch

    from snn_cace.training.checkpoints import Trained

TOLERANCE = 1e-4
"""By how much ONNX Runtime's outputs may differ from PyTorch's."""
Simulator = Literal["all", "snntorch", "spikingjelly", "norse"]


def export(
    trained: Trained,
    experiment: Experiment,
    output: str,
    format: Literal["nir", "onnx"],
    target: Simulator = "all",
    verify: bool = False,
    clips: PositiveInt = 4,
) -> None:
    """A checkpoint in another tool's format, checked by running it there.

    Args:
        output: a fresh directory.
        format: nir, the spiking blocks for other simulators and chips, or onnx, the whole network, and one segment of a
            stream where it is causal.
        target: whose conventions NIR files are written in; each has a directory of its own.
        verify: run clips of the test split there too, and write certificate.json.
        clips: how many.
    """
    data = fitting_data(trained, experiment)
    directory = Path(output)
    refuse_used(directory)
    dataset = data.dataset("test")
    chosen = dataset.__getitems__(range(min(clips, len(dataset)))) if verify else {}
    with sole_writer(output):
        if format == "nir":
            export_nir(trained, directory, target, chosen)
        else:
            export_onnx(trained, directory, dataset[0]["visual"].shape, chosen)
            if trained.experiment.model.causal:
                export_segment(trained, directory, dataset[0]["visual"][0], chosen)


def export_nir(trained: Trained, output: Path, target: Simulator, clips: dict[str, torch.Tensor]) -> None:
    with extra_packages("export --format nir", "export"):
        import nir  # noqa: F401

        from snn_cace.export.certificate import certify
        from snn_cace.export.nir import TARGETS, blocks_of, write_nir
    from snn_cace.analysis.anytime import simulation_steps
    from snn_cace.files import write_json

    if not simulation_steps(trained.experiment):
        raise InputError(f"{trained.experiment.name} has no spiking slot: NIR holds spiking blocks; use --format onnx")
    blocks = blocks_of(trained.network.float())
    refused = {block.label: block.refused for block in blocks if block.refused}
    if len(refused) == len(blocks):
        reasons = "; ".join(dict.fromkeys(refused.values()))
        raise InputError(f"no block can be exported: {reasons}; use --format onnx")
    for label, reason in refused.items():
        print(f"{label}: refused: {reason}")
    for name in TARGETS if target == "all" else [target]:
        blocks = write_nir(trained, output / name, name)
        print(f"{output / name}: {len(blocks) - len(refused)} of {len(blocks)} blocks")
        if clips:
            with extra_packages(f"--verify with {name}", "export"):
                inputs = {key: clips[key].float() for key in ("visual", "audio")}
                found = certify(trained.network, blocks, output / name, name, TARGETS[name].dt, inputs)
            write_json(output / name / "certificate.json", found)
            print_certificate(found)


def print_certificate(found: dict[str, Any]) -> None:
    print(f"  {found['simulator']} {found['version']}, {found['clips']} clips:")
    for block in found["blocks"]:
        if block["verdict"] == "refused":
            continue
        print(
            f"    {block['block']}: {block['verdict']}, {block['spikes']:,} spikes, {100 * block['float64']:.6g} % "
            f"equal in float64, {100 * block['float32']:.6g} % in float32"
        )
        if block["cause"]:
            print(f"      {block['cause']}")


def export_onnx(trained: Trained, output: Path, visual: torch.Size, clips: dict[str, torch.Tensor]) -> None:
    with extra_packages("export --format onnx", "export"):
        from snn_cace.export.onnx import check_onnx, takes_any_number, write_onnx
    from snn_cace.files import write_json

    if clips:
        refuse_drawn(trained.experiment.model, "so ONNX Runtime's outputs are others; leave out --verify")
    path = output / "network.onnx"
    write_onnx(trained.network, path, visual)
    segments = "and segments" if takes_any_number(trained.network, visual[0]) else f"of {visual[0]} segments"
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, any number of clips {segments}")
    if clips:
        found = check_onnx(trained.network, path, clips)
        write_json(output / "certificate.json", found)
        largest = max(found["largest_differences"].values())
        times = ", ".join(f"{name} {value:.1f}" for name, value in found["milliseconds_per_clip"].items())
        print(f"  ONNX Runtime {found['onnxruntime']}, {found['clips']} clips: outputs differ by at most {largest:.1e}")
        print(f"  milliseconds a clip: {times}")
        refuse_difference(path, largest)


def refuse_difference(path: Path, largest: float) -> None:
    if largest > TOLERANCE:
        raise InputError(f"{path}: ONNX Runtime's outputs differ by {largest:.1e}, more than {TOLERANCE:.0e}")


def export_segment(trained: Trained, output: Path, visual: torch.Tensor, clips: dict[str, torch.Tensor]) -> None:
    """Write one segment of a stream, whose pictures are as `visual`, `[H, W, Cv]`."""
    from snn_cace.export.step import OnnxStep, check_step
    from snn_cace.export.stream import refuse_unstreamable
    from snn_cace.files import replacing, write_json

    try:
        refuse_unstreamable(trained.experiment)
    except InputError as error:
        print(f"no segment.onnx: {error}")
        return
    step = OnnxStep(trained.network.cpu().float().eval(), simplify=True)
    step.prepare(visual)
    path = output / "segment.onnx"
    with replacing(path) as temporary:
        temporary.write_bytes(step.exported.model)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, one segment of a stream")
    if clips:
        found = check_step(step, trained.experiment, clips)
        write_json(output / "segment-certificate.json", found)
        times = ", ".join(f"{name} {value:.1f}" for name, value in found["milliseconds_per_segment"].items())
        print(f"  {found['segments']} segments: probabilities differ by at most {found['largest_difference']:.1e}")
        print(f"  milliseconds a segment: {times}")
        refuse_difference(path, found["largest_difference"])
