"""The verbs of the command line: each a function whose signature is its options and whose docstring is its help.

What `options_of` makes of a parameter: positional-only ones are positional, a bool is a flag, a list takes as many
words as follow, and one without a default is required. Three kinds are more than an option of their own:

- `experiment: Experiment` adds `--config` and a dotted option for every field, `--data`, `--precision` and `--device`
  as short names of three, and is built from all of them;
- `trained: Trained` adds `--checkpoint`, whose experiment is what the options change;
- `overrides: Overrides` adds the same fields, and holds only those given, for every experiment of a comparison.
"""

from __future__ import annotations

import argparse
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser

from snn_cace import yaml_text
from snn_cace.config import Experiment, as_dict, config_errors, from_dict, hints_of, merged, plain, with_base
from snn_cace.errors import InputError
from snn_cace.processes import flush_denormals, sole_writer
from snn_cace.shipped import find_config, other_kind

if TYPE_CHECKING:
    from snn_cace.data.batches import ClipData
    from snn_cace.training.checkpoints import Trained

SHORT = {"--data": "--data.directory", "--precision": "--training.precision", "--device": "--training.device"}
"""Short names of options of an experiment."""
COMMON = (
    "data.directory",
    "data.batch_size",
    "model.guidance",
    "model.slots.temporal_encoder",
    "model.slots.feed_forward",
    "model.spiking.node",
    "model.spiking.steps",
    "model.spiking.tau",
    "model.spiking.threshold",
    "training.seed",
    "training.epochs",
    "training.learning_rate",
    "training.precision",
    "training.device",
)
"""Fields of an experiment that the help of `train` shows; --help.full shows all."""
ALWAYS = ("data.directory", "training.precision", "training.device")
"""Fields that the help of every verb shows that takes an experiment."""

Split = Literal["train", "val", "test", "all"]
Execution = Literal["dense", "event", "event-int8", "auto"]
StreamExecution = Literal[Execution, "onnx"]
Overrides = dict[str, Any]
"""Fields of an experiment that were given, nested."""


def run(verb: str, function: Callable[..., None], argv: Sequence[str]) -> None:
    """Call the function of a verb with what `argv` says.

    Raises:
        InputError: an unknown option, a missing or a bad value; or whatever the verb finds wrong.
    """
    if any(word in ("-h", "--help", "--help.full") for word in argv):
        print(make_parser(verb, function, full="--help.full" in argv).format_help())
        return
    signature, parser = inspect.signature(function), make_parser(verb, function)
    words = with_full_names(argv) if signature.parameters.keys() & {"experiment", "overrides"} else argv
    with config_errors(verb, parser):
        parsed = parser.parse_args(words, defaults=False)
    given = plain(parsed.clone(with_meta=False).as_dict())
    overrides = {name: given[name] for name in hints_of(Experiment) if given.get(name) is not None}
    arguments: dict[str, Any] = {"overrides": overrides}
    if "trained" in signature.parameters:
        arguments["trained"] = checkpoint_of(verb, given.get("checkpoint"))
    if "experiment" in signature.parameters:
        base, where = base_of(verb, given, arguments.get("trained"))
        arguments["experiment"] = from_dict(merged(base, overrides), Experiment, where)
    for name, parameter in signature.parameters.items():
        if name not in arguments:
            arguments[name] = parameter.default if given.get(name) is None else given[name]
    call = inspect.BoundArguments(signature, OrderedDict((name, arguments[name]) for name in signature.parameters))
    function(*call.args, **call.kwargs)


def with_full_names(argv: Sequence[str]) -> list[str]:
    """The words with full names for short ones."""
    split = (word.partition("=") for word in argv)
    return [SHORT.get(option, option) + equals + text for option, equals, text in split]


def base_of(verb: str, given: dict[str, Any], trained: Trained | None) -> tuple[dict[str, Any], str]:
    """The experiment that options are put over, and where it is from: that of `trained`, or of the run that --resume
    goes on with, with the file of --config over it.
    """
    config, written = given.get("config"), Path(given.get("output") or "", "config.yaml")
    if trained is not None:
        base, where = as_dict(trained.experiment), str(trained.path)
    elif given.get("resume") and written.is_file():
        base, where = with_base(written, Experiment), str(written)
    elif config is None:
        raise InputError(f"{verb} needs --config FILE, or the name of a shipped experiment: avdigits/ann")
    else:
        base, where = {}, config
    if config is not None:
        content = with_base(find_config(config, study=False), Experiment)
        if "experiments" in content:
            raise InputError(other_kind(config, study=False))
        base = merged(base, content)
    return base, where


def parameters(function: Callable[..., None]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def make_parser(verb: str, function: Callable[..., None], full: bool = True) -> ArgumentParser:
    """The parser of a verb; `full` shows every field of an experiment in its help, else the common ones."""
    documented = parse_docstring(inspect.getdoc(function) or "")
    described = [documented.short_description, documented.long_description]
    needed = " ".join(usage_of(parameter) for parameter in parameters(function) if parameter.default is parameter.empty)
    parser = ArgumentParser(
        prog=f"snn-cace {verb}",
        usage=f"snn-cace {verb} {needed} [options]".replace("  ", " "),
        description="\n\n".join(filter(None, described)),
        exit_on_error=False,
        add_help=False,
        allow_abbrev=False,
        parser_mode=yaml_text.MODE,
    )
    own = parser.add_argument_group(f"options of {verb}")
    names = {p.name for p in parameters(function)}
    if "trained" in names:
        own.add_argument("--checkpoint", help="checkpoint file, or run directory (then its best checkpoint)")
    options_of(own, function, {param.arg_name: param.description or "" for param in documented.params})
    if names & {"experiment", "overrides"}:
        common = None if full else ALWAYS if names & {"trained", "overrides"} else COMMON
        add_experiment(parser, "experiment" in names, common)
    return parser


def usage_of(parameter: inspect.Parameter) -> str:
    """How a parameter that must be given stands in the usage line."""
    name = parameter.name
    if parameter.kind is parameter.POSITIONAL_ONLY:
        return name.upper()
    shown = {"experiment": "", "overrides": "", "trained": "--checkpoint RUN"}
    return shown.get(name, f"--{name.replace('_', '-')} {name.upper()}")


def options_of(group: Any, function: Callable[..., None], described: dict[str, str]) -> None:
    """Add an option for every parameter that is one by itself."""
    hints = get_type_hints(function, localns={"Trained": Any})
    for parameter in parameters(function):
        name, hint = parameter.name, hints[parameter.name]
        if name in ("experiment", "trained", "overrides"):
            continue
        required = parameter.default is parameter.empty
        text = " ".join(described.get(name, "").split())
        if parameter.kind is parameter.POSITIONAL_ONLY:
            group.add_argument(name, type=hint, help=text)
        elif hint is bool:
            group.add_argument(f"--{name.replace('_', '-')}", dest=name, action="store_true", help=text)
        else:
            element = element_of(hint)
            group.add_argument(
                f"--{name.replace('_', '-')}",
                dest=name,
                type=element or hint,
                nargs="*" if element else None,
                required=required,
                default=None if required else parameter.default,
                help=text,
            )


def element_of(hint: Any) -> Any:
    """X of `list[X]` and of `list[X] | None`; None of any other type."""
    lists = [kind for kind in (hint, *get_args(hint)) if get_origin(kind) is list]
    return get_args(lists[0])[0] if lists else None


def add_experiment(parser: ArgumentParser, with_config: bool, common: Sequence[str] | None) -> None:
    """Add `--config`, every field of an experiment, and short names; help shows the `common` fields, or all."""
    if with_config:
        parser.add_argument("--config", help="YAML file of an experiment, or the name of a shipped one")
    parser.add_class_arguments(Experiment, None, as_group=False)
    for short, name in SHORT.items():
        action = parser._option_string_actions[name]
        action.help = f"{str(action.help).rstrip('.')}; {short} is short for it."
    if common is None:
        return
    fields = tuple(vars(Experiment()))
    for action in parser._actions:
        if action.dest.partition(".")[0] in fields and action.dest not in common:
            action.help = argparse.SUPPRESS
    for group in parser._action_groups:
        if all(action.help == argparse.SUPPRESS for action in group._group_actions):
            group.title = group.description = None
    parser.epilog = "Common options of an experiment; --help.full shows all, snn_cace/config.py describes them."


def checkpoint_of(verb: str, checkpoint: str | None) -> Trained:
    """The network that a verb runs."""
    from snn_cace.training.checkpoints import load_checkpoint

    if checkpoint is None:
        raise InputError(f"{verb} needs --checkpoint FILE or RUN_DIRECTORY")
    flush_denormals()
    return load_checkpoint(checkpoint)


def fitting_data(trained: Trained, experiment: Experiment) -> ClipData:
    """The clips that `experiment` names, which the trained network can read.

    Raises:
        InputError: another network than the checkpoint's was asked for, or clips of another shape or other classes.
    """
    from snn_cace.data.batches import ClipData
    from snn_cace.runtime import feature_dtype

    if as_dict(experiment.model) != as_dict(trained.experiment.model):
        raise InputError(f"the network of {trained.path} runs as it is; leave out --model overrides")
    data = ClipData(experiment.data, feature_dtype(experiment.training.precision))
    refuse_misfit(data, trained)
    return data


def refuse_misfit(data: ClipData, trained: Trained) -> None:
    """Raise InputError of clips that a network was not made for: of another shape, or of classes with other names.
    Classes that were never named fit all others.
    """
    here, there = data.shape, trained.network.shape
    mend = "give it such clips, or train a network on these"
    if here != there:
        raise InputError(f"{data.directory} has {here}; {trained.path} takes {there}: {mend}")
    for index, (name, trained_as) in enumerate(zip(here.class_names, there.class_names, strict=False)):
        if name != trained_as and f"class {index}" not in (name, trained_as):
            raise InputError(
                f"class {index} of {data.directory} is {name!r}, of {trained.path} it is {trained_as!r}: {mend}"
            )


@contextmanager
def extra_packages(what: str, extra: str) -> Iterator[None]:
    """Imports that need an optional extra; without it one line says how to install it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise InputError(f"{what} needs {missing.name}: install snn-cace[{extra}]") from None


@contextmanager
def writing(directory: str, name: str) -> Iterator[Path]:
    """The path of a new file in a directory that no other process writes meanwhile."""
    path = Path(directory) / name
    if path.exists():
        raise InputError(f"{path} is there already; give another --output")
    with sole_writer(directory):
        yield path
