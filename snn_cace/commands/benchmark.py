"""The verb `benchmark`."""

from __future__ import annotations

from snn_cace.commands import Overrides, writing
from snn_cace.config import Experiment, PositiveInt, put_over, read_config
from snn_cace.shipped import find_config


def benchmark(
    output: str,
    overrides: Overrides,
    config: str = "compare/avdigits",
    batch: PositiveInt = 8,
    steps: list[PositiveInt] = [1, 4, 8, 15],  # noqa: B006
) -> None:
    """Time a training step and inference of a comparison's variants, and LIF layers beside other libraries'.

    On the clips that the variants name; `data synthetic` makes some of AVE's size. Dotted overrides apply to every
    variant.

    Args:
        output: directory to write benchmark.json and benchmark.md into.
        config: YAML file that names the variants, or the name of a shipped one; ratios are against the first.
        batch: clips of a training step.
        steps: simulation steps S of the LIF layers.
    """
    from snn_cace import benchmark as benchmarks
    from snn_cace.comparison.plan import Comparison, listed_experiments
    from snn_cace.files import write_json, write_text
    from snn_cace.provenance import environment
    from snn_cace.runtime import pick_device

    file = find_config(config, study=True)
    read = read_config(file, Comparison)
    listed = listed_experiments(read, file)
    experiments = [read_config(v.file, Experiment, put_over(v.changes, read.common, overrides)) for v in listed]
    with writing(output, "benchmark.json") as path:
        found = benchmarks.benchmark(experiments, batch, steps)
        device = pick_device(experiments[0].training.device)
        write_json(path, found | {"environment": environment(device.type)})
        text = benchmarks.as_markdown(found)
        write_text(path.with_suffix(".md"), text)
        print(f"{text}\n{path}")
