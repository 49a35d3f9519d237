"""What each verb of the command line does with its options."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snn_cace.config import (
    AVDigitsConfig,
    Experiment,
    as_dict,
    as_yaml,
    config_errors,
    dotted,
    instantiate,
    read_config,
    typed_parser,
)
from snn_cace.errors import InputError
from snn_cace.processes import ready_to_compute, sole_writer

if TYPE_CHECKING:
    from snn_cace.checkpoints import Trained
    from snn_cace.data.batches import ClipData

SHORTCUTS = {"--data": "--data.directory", "--precision": "--training.precision", "--device": "--training.device"}
"""What the short options stand for, for every verb that takes an experiment."""


class OneLineParser(argparse.ArgumentParser):
    """argparse, with errors that the command line reports its own way."""

    def error(self, message: str) -> Any:
        raise InputError(f"{self.prog.removeprefix('snn-cace ')}: {message}")


def positive(word: str) -> int:
    """A whole number above zero, for an option."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word} is not above 0")
    return number


def natural(word: str) -> int:
    """A whole number, zero included, for an option."""
    return 0 if word == "0" else positive(word)


def experiment_options(verb: str, words: Sequence[str], options: list[str], base: Experiment | None) -> Any:
    """The verb's options and an `Experiment`: `base`, then --config, then dotted overrides, then the short options.

    Returns a namespace with the options by name, and `experiment`.
    """
    short = "; ".join(f"{flag} is short for {full}" for flag, full in SHORTCUTS.items())
    parser = typed_parser(Experiment, prog=f"snn-cace {verb}", epilog=short)
    if base is not None:
        parser.set_defaults(dotted(as_dict(base)))
    own = parser.add_argument_group(f"options of {verb}")
    add: dict[str, tuple[str, dict[str, Any]]] = {
        "checkpoint": ("--checkpoint", {"help": "checkpoint file, or run directory (then its best checkpoint)"}),
        "output": ("--output", {"help": "directory to write into; never one that is in use"}),
        "split": ("--split", {"default": "test", "choices": ("train", "val", "test", "all"), "help": "which clips"}),
        "resume": ("--resume", {"action": "store_true", "help": "go on with the unfinished run in --output"}),
        "slots": ("--slots", {"default": "feed_forward,visual_projection", "help": "slots to convert, by comma"}),
        "steps": ("--steps", {"type": int, "default": 16, "help": "simulation steps S of converted slots"}),
        "percentile": (
            "--percentile",
            {"type": float, "default": 99.9, "help": "of activations that a rate of 1 means"},
        ),
        "clip": ("--clip", {"type": int, "default": 0, "help": "which clip of the split the raster shows"}),
        "energy": ("--energy", {"help": "file of prices, as snn_cace/analysis/energy.yaml, in place of that"}),
        "quiet": ("--quiet", {"action": "store_true", "help": "no progress bars"}),
    }
    for option in options:
        flag, settings = add[option]
        own.add_argument(flag, **settings)
    with config_errors(verb):
        parsed = parser.parse_args(in_full(words))
        parsed.experiment = instantiate(parser, parsed, Experiment)
    return parsed


def in_full(words: Sequence[str]) -> list[str]:
    """`words` with the short options spelt out and put last, so that a config does not undo them."""
    kept: list[str] = []
    moved: list[str] = []
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag not in SHORTCUTS:
            kept.append(word)
            continue
        value = value if equals else next(rest, "")
        if not value:
            raise InputError(f"{flag} needs a value")
        moved += [SHORTCUTS[flag], value]
    return [*kept, *moved]


def value_of(flag: str, words: Sequence[str]) -> str | None:
    """The value that follows `flag` among `words`, before any parser knows the rest."""
    parser = OneLineParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, dest="value")
    return parser.parse_known_args(list(words))[0].value


def required(options: Any, *names: str) -> None:
    for name in names:
        if getattr(options, name) is None:
            raise InputError(f"--{name} is required")


@contextmanager
def writing(directory: str, name: str) -> Iterator[Path]:
    """The path of a new file in a directory that no other process writes meanwhile."""
    path = Path(directory) / name
    if path.exists():
        raise InputError(f"{path} is there already; give another --output")
    with sole_writer(directory):
        yield path


def train(words: Sequence[str]) -> None:
    output = value_of("--output", words)
    base = None
    if "--resume" in words and output and (Path(output) / "config.yaml").is_file():
        base = read_config(Path(output) / "config.yaml", Experiment)
    options = experiment_options("train", words, ["output", "resume", "quiet"], base)
    required(options, "output")
    if options.config is None and base is None:
        raise InputError("train needs --config FILE, for example configs/avdigits/ann.yaml")
    from snn_cace.training import train as run

    metrics = run(options.experiment, options.output, options.resume, options.quiet)
    if metrics:
        print(
            f"best epoch {metrics['best_epoch']} by the {metrics['selected_on']} split; segment accuracy "
            f"val {metrics['val']['segment_accuracy']:.2f} %, test {metrics['test']['segment_accuracy']:.2f} %"
        )
        for complaint in metrics["complaints"]:
            print(f"unhealthy layer {complaint}")
        if metrics["protocol"] == "paper":
            print("protocol paper: the epoch was picked on the test split, as published; not a held-out figure")
        print(f"run: {options.output}")


def checkpoint_options(verb: str, words: Sequence[str], options: list[str]) -> tuple[Any, Trained, ClipData]:
    """The options of a verb that runs a checkpoint, the network, and data that fits it."""
    from snn_cace.checkpoints import load_checkpoint
    from snn_cace.data.batches import ClipData
    from snn_cace.runtime import feature_dtype

    checkpoint = value_of("--checkpoint", words)
    asks_help = any(word in ("-h", "--help") for word in words)
    if checkpoint is None and not asks_help:
        raise InputError(f"{verb} needs --checkpoint FILE or RUN_DIRECTORY")
    if not asks_help:
        ready_to_compute()
    trained = None if checkpoint is None or asks_help else load_checkpoint(checkpoint)
    parsed = experiment_options(verb, words, ["checkpoint", *options], trained.experiment if trained else None)
    assert trained is not None
    if as_dict(parsed.experiment.model) != as_dict(trained.experiment.model):
        raise InputError(f"{verb} runs the network of {trained.path} as it is; leave out --model overrides")
    data = ClipData(parsed.experiment.data, feature_dtype(parsed.experiment.training.precision))
    if data.shape != trained.network.shape:
        raise InputError(f"{data.directory} has {data.shape}, the network of {trained.path} {trained.network.shape}")
    return parsed, trained, data


def evaluate(words: Sequence[str]) -> None:
    options, trained, data = checkpoint_options("evaluate", words, ["output", "split", "quiet"])
    from snn_cace.data.labels import class_names
    from snn_cace.evaluation import evaluate_network
    from snn_cace.files import write_json
    from snn_cace.runtime import pick_device

    with writing(options.output, "evaluation.json") if options.output else nullcontext() as path:
        experiment = options.experiment
        found = evaluate_network(
            trained.network,
            data.loader(options.split),
            experiment,
            pick_device(experiment.training.device),
            options.quiet,
        )
        names = class_names(data.directory, data.shape.classes)
        result = {
            "checkpoint": str(trained.path),
            "data": str(data.directory),
            "split": options.split,
            **found.summary(),
            "class_accuracy": dict(zip(names, found.class_accuracy, strict=True)),
            "classes": names,
            "confusion": found.confusion,
        }
        if path:
            write_json(path, result)
            print(f"{options.split}: segment accuracy {found.segment_accuracy:.3f} %; {path}")
        else:
            print(json.dumps(result, indent=2))


def predict(words: Sequence[str]) -> None:
    options, trained, data = checkpoint_options("predict", words, ["output", "split", "quiet"])
    from snn_cace.evaluation import PREDICTED, evaluate_network, save_arrays
    from snn_cace.runtime import pick_device

    required(options, "output")
    with writing(options.output, "predictions.npz") as path:
        experiment = options.experiment
        device = pick_device(experiment.training.device)
        found = evaluate_network(trained.network, data.loader(options.split), experiment, device, options.quiet)
        save_arrays(path, {name: found.predictions[name] for name in PREDICTED})
        print(f"{len(found.predictions['index'])} clips: {path}")


def spikes(words: Sequence[str]) -> None:
    options, trained, data = checkpoint_options("spikes", words, ["output", "split", "clip", "energy", "quiet"])
    from snn_cace.analysis.anytime import simulation_steps
    from snn_cace.analysis.energy import energies_mj, read_prices, sources
    from snn_cace.analysis.operations import summed
    from snn_cace.analysis.record import record_network
    from snn_cace.files import write_json
    from snn_cace.report.spikes import write_spike_report
    from snn_cace.runtime import pick_device

    required(options, "output")
    prices = read_prices(options.energy)
    with writing(options.output, "spikes.json") as path:
        device = pick_device(options.experiment.training.device)
        dataset = data.dataset(options.split)
        if not simulation_steps(options.experiment):
            raise InputError(f"{options.experiment.name} has no spiking slot: there are no spikes to analyse")
        if not 0 <= options.clip < len(dataset):
            raise InputError(f"--clip {options.clip}: the {options.split} split has clips 0 to {len(dataset) - 1}")
        record = record_network(
            trained.network, data, options.split, options.clip, options.experiment, device, options.quiet
        )
        plain = record.as_json()
        result = {
            "version": record.version,
            "experiment": options.experiment.name,
            "data": str(data.directory),
            "split": options.split,
            "clips": len(dataset),
            **{key: plain[key] for key in ("classes", "segment_accuracy", "simulation_steps")},
            **plain["network"],
            **{key: plain[key] for key in ("layers", "anytime", "raster")},
            "checkpoint": str(trained.path),
            "operations": vars(summed(record.modules)),
            "modules": plain["modules"],
            "energy_mj": energies_mj(record.modules, prices),
            "prices": sources(prices),
        }
        write_json(path, result)
        write_spike_report(result, path.parent)
        print(
            f"{options.split}: segment accuracy {result['segment_accuracy']:.2f} %, "
            f"firing rate {result['firing_rate']:.3f}"
        )
        for name, layer in result["layers"].items():
            print(
                f"  {name}: firing rate {layer['firing_rate']:.3f}, dead {100 * layer['dead']:.1f} %, "
                f"saturated {100 * layer['saturated']:.1f} %"
            )
        for depth in result["anytime"]["depths"]:
            print(f"  with {depth['steps']} simulation steps: {depth['segment_accuracy']:.2f} %")
        print(path)


def benchmark(words: Sequence[str]) -> None:
    from snn_cace.comparison import Comparison
    from snn_cace.data.ave import read_layout
    from snn_cace.data.synthetic import AVE_CLIPS

    parser = OneLineParser(
        prog="snn-cace benchmark",
        description="Time training and inference of the variants of a comparison on made-up features, LIF layers and "
        "temporal encoders, beside what limits this machine and beside other libraries.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", default="configs/compare/ave.yaml", help="comparison that names the variants")
    parser.add_argument("--output", required=True, help="directory to write into; never one that is in use")
    parser.add_argument("--batch", type=positive, default=8, help="clips of a batch (%(default)s)")
    parser.add_argument(
        "--steps", type=positive, nargs="*", default=[1, 4, 8, 15], help="simulation steps S to try (%(default)s)"
    )
    parser.add_argument(
        "--batches", type=positive, nargs="*", default=[2, 4, 8, 16], help="batch sizes to try (%(default)s)"
    )
    parser.add_argument(
        "--clips", type=positive, nargs="*", default=[64, 128, 256], help="clips of an epoch to try (%(default)s)"
    )
    parser.add_argument(
        "--encoder-batch", type=positive, default=64, help="clips for temporal encoders and LIF layers (%(default)s)"
    )
    parser.add_argument("--compile", action="store_true", help="time torch.compile too, which takes minutes")
    parser.add_argument("--epochs", type=positive, help="train each variant for so many epochs too, as users do")
    parser.add_argument(
        "--run-clips", type=positive, default=AVE_CLIPS, help="clips of those runs, all splits together (%(default)s)"
    )
    parser.add_argument(
        "--trained-epochs",
        type=natural,
        default=10,
        help="epochs after which networks are timed beside fresh ones, on a CPU only; 0 for none (%(default)s)",
    )
    parser.add_argument(
        "--trained-clips", type=positive, default=256, help="made-up clips for them, all splits together (%(default)s)"
    )
    parser.add_argument("--data", help="train those on the clips of this directory, in AVE's layout, instead")
    parser.add_argument(
        "--patches", type=positive, nargs=2, default=[7, 7], metavar=("H", "W"), help="of a segment (%(default)s)"
    )
    parser.add_argument("--visual-channels", type=positive, default=512, help="of a patch (%(default)s)")
    parser.add_argument("--audio-channels", type=positive, default=128, help="of a segment (%(default)s)")
    parser.add_argument("--classes", type=positive, default=28, help="without background (%(default)s)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU where there is one"
    )
    options, overrides = parser.parse_known_args(list(words))
    if options.data:
        read_layout(options.data)  # what is wrong with it is said now, not after minutes of measuring
    config = Path(options.config)
    comparison = read_config(config, Comparison)
    experiments = [read_config(config.parent / file, Experiment, overrides) for file in comparison.experiments]
    from snn_cace.benchmark import Amounts, Sizes
    from snn_cace.benchmark import benchmark as run
    from snn_cace.contracts import FeatureShape
    from snn_cace.files import write_json
    from snn_cace.report.benchmark import write_benchmark
    from snn_cace.runtime import pick_device
    from snn_cace.summary import environment

    device = pick_device(options.device)
    shape = FeatureShape(options.visual_channels, options.audio_channels, options.classes)
    sizes = Sizes(shape, tuple(options.patches))
    amounts = Amounts(
        options.batch,
        options.steps,
        options.batches,
        options.clips,
        options.encoder_batch,
        options.epochs or 0,
        options.run_clips,
        options.trained_epochs,
        options.trained_clips,
        directory=options.data,
    )
    with writing(options.output, "benchmark.json") as path:
        result = run(experiments, sizes, amounts, device, options.compile)
        result["environment"] = environment(device.type)
        write_json(path, result)
        print(f"\n{write_benchmark(result, path.parent)}\n{path}")


def report(words: Sequence[str]) -> None:
    from snn_cace.report.comparison import write_report

    parser = OneLineParser(prog="snn-cace report", description="The report of a comparison, from its JSON alone.")
    parser.add_argument("--comparison", required=True, help="comparison.json")
    parser.add_argument("--output", required=True, help="directory to write into; never one that has a report")
    options = parser.parse_args(list(words))
    with writing(options.output, "report.html") as path:
        print(write_report(Path(options.comparison), path.parent))
        print(f"report: {path}")


def compare(words: Sequence[str]) -> None:
    from snn_cace.comparison import Comparison, run_comparison

    parser = OneLineParser(
        prog="snn-cace compare",
        description="Train variants over seeds and set them side by side. Dotted overrides "
        "(--training.epochs 3), --data, --precision and --device apply to every variant.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="YAML file that names the variants and seeds")
    parser.add_argument("--output", help="directory for the runs and the report; default runs/NAME")
    parser.add_argument("--jobs", type=positive, help="runs at a time; default one per core, one on a GPU")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the config's")
    options, overrides = parser.parse_known_args(in_full(words))
    comparison = read_config(options.config, Comparison)
    comparison.seeds = options.seeds or comparison.seeds
    run_comparison(
        comparison, Path(options.config), options.output or f"runs/{comparison.name}", options.jobs, overrides
    )


def convert(words: Sequence[str]) -> None:
    options, trained, data = checkpoint_options("convert", words, ["output", "quiet", "slots", "steps", "percentile"])
    from dataclasses import replace

    from snn_cace.checkpoints import RunFiles, refuse_used, save_checkpoint
    from snn_cace.evaluation import evaluate_network
    from snn_cace.files import write_text
    from snn_cace.runtime import pick_device
    from snn_cace.training import CALIBRATION_BATCHES
    from snn_cace.transfer import convert as convert_network
    from snn_cace.transfer import converted_config

    required(options, "output")
    files = RunFiles(Path(options.output))
    refuse_used(files)
    if options.steps < 1 or not 0 < options.percentile <= 100:
        raise InputError("convert needs --steps of at least 1 and a --percentile above 0, up to 100")
    model = converted_config(trained.experiment.model, options.slots.split(","), options.steps)
    batches = ((batch["visual"], batch["audio"]) for batch in islice(data.loader("train"), CALIBRATION_BATCHES))
    network = convert_network(trained.network.to(data.dtype), model, batches, options.percentile)
    experiment = replace(options.experiment, name=f"{trained.experiment.name}-converted", model=model)
    with sole_writer(options.output):
        refuse_used(files)
        save_checkpoint(files.best, network, experiment)
        write_text(files.config, as_yaml(experiment))
    device = pick_device(experiment.training.device)
    for name, version in (("ann", trained.network), ("converted", network)):
        found = evaluate_network(version, data.loader("val"), experiment, device, options.quiet)
        print(f"{name}: val segment accuracy {found.segment_accuracy:.2f} %")
    print(f"run: {options.output}")


def import_reference(words: Sequence[str]) -> None:
    from snn_cace.checkpoints import RunFiles, import_weights

    parser = OneLineParser(prog="snn-cace import-reference", description="A run from the original authors' weights.")
    parser.add_argument("--weights", required=True, help="a released .pth.tar state dict")
    parser.add_argument("--output", required=True, help="run directory to make")
    parser.add_argument("--spiking", choices=("braincog",), help="the weights are of the spiking network")
    parser.add_argument(
        "--guidance",
        choices=("none", "audio", "visual", "co"),
        default="co",
        help="of the weights' network (%(default)s)",
    )
    options = parser.parse_args(list(words))
    files = RunFiles(Path(options.output))
    with sole_writer(options.output):
        unused = import_weights(Path(options.weights), files, options.guidance, options.spiking)
    print(f"{len(unused)} entries of {options.weights} that the network does not use:")
    for key in unused:
        print(f"  {key}")
    print(f"run: {options.output}")


def data_check(words: Sequence[str]) -> None:
    from snn_cace.data.check import check_directory

    parser = OneLineParser(prog="snn-cace data check", description="What an AVE directory holds, and every problem.")
    parser.add_argument("directory", help="directory in AVE's layout")
    directory = parser.parse_args(list(words)).directory
    summary = check_directory(directory)
    for line in [*summary.lines, *(f"problem: {problem}" for problem in summary.problems)]:
        print(line)
    if summary.problems:
        raise InputError(f"{directory} has {len(summary.problems)} problem(s), listed above")
    print("no problem found")


def data_labels(words: Sequence[str]) -> None:
    from snn_cace.data.labels import write_labels

    parser = OneLineParser(prog="snn-cace data labels", description="Make labels.h5 from AVE's annotations.")
    parser.add_argument("directory", help="directory to write it into")
    parser.add_argument("--annotations", help="annotations file; default DIRECTORY/Annotations.txt")
    options = parser.parse_args(list(words))
    print(write_labels(options.directory, options.annotations))


def data_avdigits(words: Sequence[str]) -> None:
    from snn_cace.data.avdigits import write_avdigits

    defaults = AVDigitsConfig()
    parser = OneLineParser(prog="snn-cace data avdigits", description="Write AV-Digits in AVE's layout.")
    parser.add_argument("directory", help="directory to make")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the drawing of clips (%(default)s)")
    for split in ("train", "val", "test"):
        default = getattr(defaults, f"{split}_clips")
        parser.add_argument(f"--{split}-clips", type=positive, default=default, help="clips of the split (%(default)s)")
    options = parser.parse_args(list(words))
    config = AVDigitsConfig(options.seed, options.train_clips, options.val_clips, options.test_clips)
    write_avdigits(options.directory, config)
    print(f"{config}: {options.directory}")


def data_synthetic(words: Sequence[str]) -> None:
    from snn_cace.data.synthetic import AVE_CLIPS, write_synthetic

    parser = OneLineParser(prog="snn-cace data synthetic", description="Random features with AVE's statistics.")
    parser.add_argument("directory", help="directory to make")
    parser.add_argument("--clips", type=positive, default=AVE_CLIPS, help="all splits together (%(default)s)")
    parser.add_argument("--annotations", help="AVE's Annotations.txt; default: parameters fitted to it")
    parser.add_argument(
        "--visual-shape",
        type=positive,
        nargs=3,
        default=(7, 7, 512),
        metavar=("H", "W", "Cv"),
        help="patches and their channels in a segment (%(default)s)",
    )
    parser.add_argument("--audio-channels", type=positive, default=128, help="of a segment (%(default)s)")
    parser.add_argument(
        "--dtype", choices=("float16", "float32", "float64"), default="float32", help="of features (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random features (%(default)s)")
    parser.add_argument(
        "--correlated", action="store_true", help="rectified mixtures of factors that carry the class; else noise"
    )
    options = parser.parse_args(list(words))
    write_synthetic(
        options.directory,
        options.clips,
        options.annotations,
        tuple(options.visual_shape),
        options.audio_channels,
        options.dtype,
        options.seed,
        options.correlated,
    )
    print(f"{options.clips} clips: {options.directory}")
