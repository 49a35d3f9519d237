"""The verb `benchmark`."""

from __future__ import annotations

from pathlib import Path

from snn_cace.commands import Overrides, writing
from snn_cace.config import Experiment, NonNegativeInt, PositiveInt, read_config
from snn_cace.contracts import FeatureShape
from snn_cace.data.synthetic import AVE_CLIPS


def benchmark(
    output: str,
    overrides: Overrides,
    config: str = "configs/compare/ave.yaml",
    batch: PositiveInt = 8,
    steps: list[PositiveInt] = [1, 4, 8, 15],  # noqa: B006
    batches: list[PositiveInt] = [2, 4, 8, 16],  # noqa: B006
    clips: list[PositiveInt] = [64, 128, 256],  # noqa: B006
    encoder_batch: PositiveInt = 64,
    compile: bool = False,
    epochs: NonNegativeInt = 0,
    run_clips: PositiveInt = AVE_CLIPS,
    trained_epochs: NonNegativeInt = 10,
    trained_clips: PositiveInt = 256,
    patches: list[PositiveInt] = [7, 7],  # noqa: B006
    visual_channels: PositiveInt = 512,
    audio_channels: PositiveInt = 128,
    classes: PositiveInt = 28,
) -> None:
    """Time training and inference of the variants of a comparison on made-up features.

    LIF layers and temporal encoders too, beside what limits this machine and beside other libraries. Dotted overrides
    apply to every variant; networks that are timed trained beside fresh are trained on the clips of --data, where it is
    given.

    Args:
        output: directory to write into; never one that is in use.
        config: comparison that names the variants.
        batch: clips of a batch.
        steps: simulation steps S to try.
        batches: batch sizes to try.
        clips: clips of an epoch to try.
        encoder_batch: clips for temporal encoders and LIF layers.
        compile: time torch.compile too, which takes minutes.
        epochs: train each variant for so many epochs too, as users do; 0 for none.
        run_clips: clips of those runs, all splits together.
        trained_epochs: epochs after which networks are timed beside fresh ones, on a CPU only; 0 for none.
        trained_clips: made-up clips for them, all splits together.
        patches: height and width of a segment in patches.
        visual_channels: of a patch.
        audio_channels: of a segment.
        classes: without background.
    """
    directory = overrides.get("data", {}).pop("directory", None)
    experiments = checked_variants(config, overrides, directory, patches)
    from snn_cace.benchmark import Amounts, Sizes
    from snn_cace.benchmark import benchmark as run
    from snn_cace.files import write_json
    from snn_cace.provenance import environment
    from snn_cace.report.benchmark import write_benchmark
    from snn_cace.runtime import pick_device

    device = pick_device(experiments[0].training.device)
    sizes = Sizes(FeatureShape(visual_channels, audio_channels, classes), (patches[0], patches[1]))
    amounts = Amounts(batch, steps, batches, clips, encoder_batch, epochs, run_clips, trained_epochs, trained_clips)
    amounts.directory = directory
    with writing(output, "benchmark.json") as path:
        result = run(experiments, sizes, amounts, device, compile) | {"environment": environment(device.type)}
        write_json(path, result)
        print(f"\n{write_benchmark(result, path.parent)}\n{path}")


def checked_variants(
    config: str, overrides: Overrides, directory: str | None, patches: list[PositiveInt]
) -> list[Experiment]:
    """The comparison's variants; what is wrong with the options is said now, not after minutes of measuring."""
    from snn_cace.comparison.run import Comparison
    from snn_cace.data.ave import read_layout
    from snn_cace.errors import InputError

    if len(patches) != 2:
        raise InputError(f"benchmark: --patches takes two numbers, height and width, not {len(patches)}")
    if directory:
        read_layout(directory)
    files = [Path(config).parent / file for file in read_config(config, Comparison).experiments]
    return [read_config(file, Experiment, overrides) for file in files]
