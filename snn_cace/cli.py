"""One command, `snn-cace`, one sub-command per verb. Nothing heavy is imported before a verb is known."""

from __future__ import annotations

import atexit
import gc
import os
import select
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from snn_cace import __version__
from snn_cace.errors import InputError, did_you_mean, explained, one_line
from snn_cace.processes import (
    TerminatedError,
    errors_told_once,
    ignore_foreign_ranks,
    look_at_old_objects_seldom,
    raise_on_sigterm,
)

VERBS = {
    "init": ("init:init", "write a commented ANN, SNN and comparison, to change and run"),
    "train": ("train:train", "train one experiment into a run directory"),
    "evaluate": ("evaluate:evaluate", "measure accuracy, losses and confusion matrix of a checkpoint on a split"),
    "predict": ("evaluate:predict", "write a checkpoint's outputs for every clip of a split, as .npz"),
    "compare": ("compare:compare", "train variants over seeds and compare them"),
    "sweep": ("compare:compare", "another word for compare"),
    "rerun": ("rerun:rerun", "train a finished run again, and say whether the numbers agree"),
    "report": ("compare:report", "make the report of a comparison from its JSON"),
    "spikes": (
        "spikes:spikes",
        "measure firing rates, rasters, accuracy against simulation steps and operations of a checkpoint",
    ),
    "attention": (
        "attention:attention",
        "draw guidance attention over pictures, and measure how often it points at the digit",
    ),
    "stream": ("stream:stream", "run a causal checkpoint segment by segment, over clips or a video"),
    "audit": ("audit:audit", "count operations and energy of any PyTorch network, and check claims about it"),
    "export": ("export:export", "write a checkpoint as NIR or ONNX, and check it by running it there"),
    "benchmark": ("benchmark:benchmark", "time a comparison's variants, and LIF layers beside other libraries'"),
    "import-reference": (
        "import_reference:import_reference",
        "make a run directory from the original authors' released weights",
    ),
    "extract": ("extract:extract", "compute features of a folder of videos, in AVE's layout"),
    "finetune": ("finetune:finetune", "tune an image encoder to the sound of a folder of videos"),
    "data check": ("data:check", "list what a directory of features holds, and every problem in it"),
    "data labels": ("data:labels", "make labels.h5 from Annotations.txt"),
    "data certify": ("data:certify", "measure how close features extracted here are to released ones"),
    "data avdigits": ("data:avdigits", "write the embedded data set in AVE's layout"),
    "data synthetic": ("data:synthetic", "write random features of AVE's size, for benchmarks"),
}
"""Each verb: its function in `snn_cace.commands`, and what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `arguments`, or this process's own; the exit code is 2 for bad input, with one line on standard error."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # where a neuron, network or reader of the user's own may lie
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        left = outputs_without_reader()
        if not left:
            raise
        for output in left:  # else Python complains of the pipe once more as it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), output)
        return 128 + signal.SIGPIPE
    return code


def outputs_without_reader() -> list[int]:
    """Which of standard output and standard error are pipes whose reader has left, as `head` does."""
    poll = select.poll()
    for output in (1, 2):
        poll.register(output, 0)
    return [output for output, _ in poll.poll(0)]


def run(arguments: Sequence[str] | None) -> int:
    """Run `arguments`, or this process's own; returns the exit code."""
    whole_process = arguments is None
    if whole_process:
        look_at_old_objects_seldom()
        atexit.register(gc.freeze)  # else collecting all that PyTorch has made takes seconds while the process ends
        os.environ["MPLBACKEND"] = "agg"  # figures are files; what a notebook sets may not be installed here
        ignore_foreign_ranks()
        for output in (sys.stdout, sys.stderr):
            output.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"snn-cace {__version__}")
        return 0
    debug = "--debug" in arguments
    argv = [word for word in arguments if word != "--debug"]
    try:
        if argv[:1] == ["--completion"]:
            print(import_module("snn_cace.commands.completion").completion_script(" ".join(argv[1:]), VERBS))
            return 0
        verb = find_verb(argv)
        raise_on_sigterm()
        module, _, name = VERBS[verb][0].partition(":")
        function = getattr(import_module(f"snn_cace.commands.{module}"), name)
        with errors_told_once():
            import_module("snn_cace.commands").run(verb, function, argv[len(verb.split()) :])
    except KeyboardInterrupt:
        print("snn-cace: interrupted", file=sys.stderr)
        return 130
    except TerminatedError:
        print("snn-cace: ended by SIGTERM", file=sys.stderr)
        return 143
    except Exception as error:
        if debug or (isinstance(error, BrokenPipeError) and outputs_without_reader()):
            raise
        if told := explained(error):
            # A data loader's worker hands an error on with its traceback before the message.
            line = told.splitlines()[-1].removeprefix("snn_cace.errors.InputError: ")
            print(f"snn-cace: {line}", file=sys.stderr)
            return 2
        print(f"snn-cace: unexpected {type(error).__name__}: {one_line(error)} (--debug shows where)", file=sys.stderr)
        return 1
    return 0


def find_verb(argv: list[str]) -> str:
    for verb in (" ".join(argv[:2]), *argv[:1]):
        if verb in VERBS:
            return verb
    below = [verb for verb in VERBS if argv and verb.startswith(argv[0] + " ")]
    given = " ".join(argv[:1])
    hint = did_you_mean(given, VERBS) or f"; choose from: {', '.join(below or VERBS)}"
    raise InputError(f"unknown verb '{given}'{hint}")


def overview() -> str:
    lines = ["usage: snn-cace VERB [options]", "", "CACE-Net as an ANN and as an SNN from one YAML file.", ""]
    lines += [f"  {verb:18s}{what}" for verb, (_, what) in VERBS.items()]
    lines += ["", "snn-cace VERB --help lists a verb's options; --debug shows the traceback of an error."]
    lines += ["snn-cace --completion bash prints a script that completes verbs and options."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
