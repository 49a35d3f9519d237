"""The verb `rerun`."""

from __future__ import annotations


def rerun(run: str, /, output: str, quiet: bool = False) -> None:
    """Train a finished run again from what its directory says, and say whether the numbers agree.

    Args:
        run: directory of the finished run.
        output: directory for the second one.
        quiet: no progress bar.
    """
    from snn_cace.training.repeat import rerun as repeat

    circumstances, numbers = repeat(run, output, quiet)
    for line in [*circumstances, *numbers]:
        print(line)
    print("the numbers differ" if numbers else "every number is the same, to the last bit")
