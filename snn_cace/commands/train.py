"""The verb `train`."""

from __future__ import annotations

from snn_cace.config import Experiment

SCORES = {"segment_f1_micro": "segment F1 (micro), which picked it:", "segment_accuracy": "segment accuracy"}
"""What is printed of a finished run, where its data has it."""


def train(experiment: Experiment, output: str, resume: bool = False, quiet: bool = False) -> None:
    """Train one experiment into a run directory.

    Args:
        output: directory to write into; never one that is in use.
        resume: go on with the unfinished run in --output.
        quiet: no progress bars, nor a line an epoch, which is printed where output is no terminal.
    """
    from snn_cace.training.run import train as run

    metrics = run(experiment, output, resume, quiet)
    if not metrics:
        return
    scores = [
        f"{words} val {metrics['val'][name]:.2f} %, test {metrics['test'][name]:.2f} %"
        for name, words in SCORES.items()
        if name in metrics["val"]
    ]
    print(f"best epoch {metrics['best_epoch']} by the {metrics['selected_on']} split; {'; '.join(scores)}")
    for warning in metrics["warnings"]:
        print(f"unhealthy layer {warning}")
    if metrics["protocol"] == "paper":
        print("protocol paper: the epoch was picked on the test split, as published; not a held-out figure")
    print(f"run: {output}")
