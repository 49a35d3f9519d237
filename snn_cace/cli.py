"""One command, `snn-cace`, one sub-command per verb. Nothing heavy is imported before a verb is known."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from snn_cace import __version__
from snn_cace.errors import InputError
from snn_cace.processes import TerminatedError, raise_on_sigterm

VERBS = {
    "train": "train one experiment into a run directory",
    "evaluate": "accuracy, losses and confusion matrix of a checkpoint on a split",
    "predict": "a checkpoint's outputs for every clip of a split, as .npz",
    "compare": "train variants over seeds and set them side by side",
    "report": "the report of a comparison, from its JSON alone",
    "spikes": "firing rates, rasters, accuracy against simulation steps and operations of a checkpoint",
    "benchmark": "speed and memory, beside the machine's limits and other libraries",
    "convert": "an ANN's rectified blocks as spiking ones, calibrated, without training",
    "import-reference": "a run directory from the original authors' released weights",
    "data check": "what an AVE directory holds, and every problem in it",
    "data labels": "make labels.h5 from Annotations.txt",
    "data avdigits": "write the embedded data set in AVE's layout",
    "data synthetic": "write random features of AVE's size, for benchmarks",
}
"""Each verb is a function of `snn_cace.verbs` by the same name, blanks and dashes as underscores."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 2 for bad input, with one line on standard error."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"snn-cace {__version__}")
        return 0
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    try:
        verb = find_verb(words)
        raise_on_sigterm()
        run = getattr(import_module("snn_cace.verbs"), verb.replace(" ", "_").replace("-", "_"))
        run(words[len(verb.split()) :])
    except InputError as error:
        if debug:
            raise
        # A data loader's worker hands an error on with its traceback before the message.
        line = str(error).strip().splitlines()[-1].removeprefix("snn_cace.errors.InputError: ")
        print(f"snn-cace: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("snn-cace: interrupted", file=sys.stderr)
        return 130
    except TerminatedError:
        print("snn-cace: ended by SIGTERM", file=sys.stderr)
        return 143
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"snn-cace: unexpected {type(error).__name__}: {reason} (--debug shows where)", file=sys.stderr)
        return 1
    return 0


def find_verb(words: list[str]) -> str:
    for verb in (" ".join(words[:2]), *words[:1]):
        if verb in VERBS:
            return verb
    below = [verb for verb in VERBS if words and verb.startswith(words[0] + " ")]
    raise InputError(f"unknown verb '{' '.join(words[:1])}'; choose from: {', '.join(below or VERBS)}")


def overview() -> str:
    lines = ["usage: snn-cace VERB [options]", "", "CACE-Net as an ANN and as an SNN from one YAML file.", ""]
    lines += [f"  {verb:18s}{what}" for verb, what in VERBS.items()]
    lines += ["", "snn-cace VERB --help lists a verb's options; --debug shows the traceback of an error."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
