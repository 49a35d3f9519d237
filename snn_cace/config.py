"""The experiment as typed dataclasses. A YAML file is an instance of `Experiment`; so is any dotted override."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import yaml

from snn_cace.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from neurons import BlockConfig

Precision = Literal["32", "tf32", "bf16-mixed", "64", 32, 64]
Protocol = Literal["validation", "paper"]
Guidance = Literal["none", "audio", "visual", "co"]
Membrane = Literal["carry", "reset"]
Reset = Literal["hard", "soft"]
Coding = Literal["constant", "poisson", "latency", "learned"]
ReadoutName = Literal["rate", "membrane", "last", "maximum", "learned"]
Norm = Literal["batch", "threshold", "layer", "none"]
LONGEST_NAME = 200
"""Bytes of an experiment's or a comparison's name in UTF-8, which file systems take with an ending added."""
WHOLE_SEQUENCE = ("gated_lif", "psn", "masked_psn", "sliding_psn")


@dataclass
class AVDigitsConfig:
    """The embedded data set AV-Digits.

    Args:
        seed: decides every clip.
        train_clips: clips made from the official training utterances.
        val_clips: clips made from utterances and digit images of their own.
        test_clips: likewise.
    """

    seed: int = 0
    train_clips: int = 1600
    val_clips: int = 400
    test_clips: int = 400


@dataclass
class DataConfig:
    """Where clips come from and how they are batched.

    Args:
        directory: a directory in AVE's HDF5 layout; null is the embedded data set AV-Digits.
        avdigits: AV-Digits itself, where `directory` is null.
        modalities: `both`, or one of them with the other set to zero.
        batch_size: clips per batch.
        workers: processes that read ahead; 0 reads in the main process.
        keep_in: where clips are kept once each file has been read from beginning to end: on the `device` that trains,
            in `memory`, or `mapped` from a flat file on disk that goes with the process. `disk` reads rows as they are
            needed, and keeps only what chunks of several rows decode to. `auto` is the first of these that all splits
            fit into with as much to spare.
        keep_as: what features are kept as: `full` (the precision they are used in), `float16` or `bfloat16`.
    """

    directory: str | None = None
    avdigits: AVDigitsConfig = field(default_factory=AVDigitsConfig)
    modalities: Literal["both", "audio", "visual"] = "both"
    batch_size: int = 64
    workers: int = 0
    keep_in: Literal["auto", "device", "memory", "mapped", "disk"] = "auto"
    keep_as: Literal["full", "float16", "bfloat16"] = "full"


@dataclass
class SpikingConfig:
    """Defaults shared by every spiking slot.

    Args:
        node: `if`, `lif`, `plif` (learned tau), `alif` (adaptive threshold), `gated_lif`, `ilif` (several spikes a
            step), or the parallel `psn`, `masked_psn`, `sliding_psn`.
        steps: simulation steps S per segment; 1 with a carried membrane takes segments as steps.
        membrane: `carry` the membrane from segment to segment, or `reset` it at each.
        tau: membrane time constant in simulation steps, above 1.
        threshold: firing threshold, above 0, in units of the current.
        learn_threshold: train the threshold, one per layer.
        reset: `hard` to zero, or `soft` by subtracting the threshold.
        detach_reset: keep the reset out of the gradient.
        surrogate: SpikingJelly's surrogates fire at or above the threshold: `piecewise_quadratic`, `atan`, `sigmoid`
            and so on; `quadratic_gate` fires strictly above it, as the original does.
        alpha: the surrogate's slope or width parameter; null is SpikingJelly's default.
        surrogate_parameters: further parameters of the surrogate, by name.
        levels: most spikes per simulation step of `ilif`.
        adaptation: how far the threshold of `alif` rises per unit of recent firing.
        adaptation_tau: its time constant in simulation steps, at least 1.
        order: simulation steps that `masked_psn` and `sliding_psn` look back.
        coding: how values become what the block is fed: `constant` current, `poisson` rate, `latency` (time to first
            spike), or a `learned` spiking encoder.
        readout: how spikes become values: firing `rate`, `membrane` of a non-spiking integrator, `last` step,
            `maximum` over steps, or a `learned` weighting of steps.
        norm: of the current: `batch`, `threshold` (batch norm scaled to the threshold), `layer` or `none`.
    """

    node: str = "lif"
    steps: int = 4
    membrane: Membrane = "carry"
    tau: float = 2.0
    threshold: float = 0.5
    learn_threshold: bool = False
    reset: Reset = "hard"
    detach_reset: bool = True
    surrogate: str = "piecewise_quadratic"
    alpha: float | None = None
    surrogate_parameters: dict[str, float] = field(default_factory=dict)
    levels: int = 4
    adaptation: float = 0.5
    adaptation_tau: float = 10.0
    order: int = 4
    coding: Coding = "constant"
    readout: ReadoutName = "rate"
    norm: Norm = "batch"

    def block(self) -> BlockConfig:
        """These numbers as `neurons` takes and checks them.

        Raises:
            ValueError: a number out of range, an unknown name, or parts that do not go together.
        """
        from neurons import BlockConfig, NodeConfig

        node = NodeConfig(**{f.name: getattr(self, f.name) for f in dataclasses.fields(NodeConfig)})
        return BlockConfig(node, self.steps, self.membrane, self.coding, self.readout, self.norm)


@dataclass
class SlotConfig:
    """One slot of the network: which block fills it, and values of its own; null means the default in model.spiking.

    Args:
        block: `dense`, `spiking`, or (temporal encoder only) `braincog`, the original's encoder.
        direction: of the temporal encoder's block `spiking`: `forward` is causal in segments; `bidirectional` gives
            half of the neurons the segments in reverse, as the BiLSTM does; `recurrent` feeds spikes back, one
            simulation step later.
        node: as model.spiking.node.
        steps: simulation steps S per segment, as model.spiking.steps; `braincog` takes 15 where this is null.
        membrane: as model.spiking.membrane.
        tau: in simulation steps, as model.spiking.tau.
        threshold: in units of the current, as model.spiking.threshold.
        learn_threshold: as model.spiking.learn_threshold.
        reset: as model.spiking.reset.
        detach_reset: as model.spiking.detach_reset.
        surrogate: as model.spiking.surrogate.
        alpha: as model.spiking.alpha.
        surrogate_parameters: as model.spiking.surrogate_parameters.
        levels: spikes per simulation step, as model.spiking.levels.
        adaptation: as model.spiking.adaptation.
        adaptation_tau: in simulation steps, as model.spiking.adaptation_tau.
        order: in simulation steps, as model.spiking.order.
        coding: as model.spiking.coding.
        readout: as model.spiking.readout.
        norm: as model.spiking.norm.
    """

    block: Literal["dense", "spiking", "braincog"] = "dense"
    direction: Literal["forward", "bidirectional", "recurrent"] = "forward"
    node: str | None = None
    steps: int | None = None
    membrane: Membrane | None = None
    tau: float | None = None
    threshold: float | None = None
    learn_threshold: bool | None = None
    reset: Reset | None = None
    detach_reset: bool | None = None
    surrogate: str | None = None
    alpha: float | None = None
    surrogate_parameters: dict[str, float] | None = None
    levels: int | None = None
    adaptation: float | None = None
    adaptation_tau: float | None = None
    order: int | None = None
    coding: Coding | None = None
    readout: ReadoutName | None = None
    norm: Norm | None = None

    def spiking(self, shared: SpikingConfig) -> SpikingConfig:
        """The shared defaults with this slot's own values put over them."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(shared)}
        return dataclasses.replace(shared, **{name: value for name, value in own.items() if value is not None})


@dataclass
class SlotsConfig:
    """Which blocks spike. Guidance attention and the contrastive projector never do.

    Args:
        visual_projection: the layer that every patch goes through first.
        temporal_encoder: the BiLSTM's place.
        feed_forward: the hidden layer inside every relation block.
        interaction: the attention of the audio-visual interaction blocks; spiking, it has no softmax.
        event_head: the classifier of the clip's event.
    """

    visual_projection: SlotConfig = field(default_factory=SlotConfig)
    temporal_encoder: SlotConfig = field(default_factory=SlotConfig)
    feed_forward: SlotConfig = field(default_factory=SlotConfig)
    interaction: SlotConfig = field(default_factory=SlotConfig)
    event_head: SlotConfig = field(default_factory=SlotConfig)


@dataclass
class ContrastConfig:
    """Background-event contrast enhancement (BECE).

    Args:
        enabled: off leaves out both the loss term and the enhanced features.
        strength: lambda, the weight of the enhanced features before the relevance classifier.
        noise: standard deviation of the noise that makes the key view.
        start: share of the epochs after which the enhancement and the loss term come on.
        coefficient: weight of the contrastive loss.
        temperature: divides the similarities.
    """

    enabled: bool = True
    strength: float = 0.6
    noise: float = 0.1
    start: float = 0.125
    coefficient: float = 1.0
    temperature: float = 0.01


@dataclass
class ModelConfig:
    """Sizes and constants of the network; the defaults are the original's.

    Args:
        guidance: which modality guides which: `none`, `audio`, `visual` or `co` (both).
        psi: strength of the picture-guided weighting of the sound.
        beta: strength of the picture's self-attended weighting.
        alpha: strength of the crosswise temporal gates.
        gamma: weight of the av logits within the event logits.
        visual_dim: width of a patch after the visual projection.
        attention_dim: hidden width of guidance attention.
        key_dim: width of queries and keys in the pictures' self-attention; null is a quarter of visual_dim.
        d_model: width of relation blocks and head.
        heads: attention heads.
        encoder_layers: self-relation layers per modality.
        encoder_feed_forward: their hidden width.
        decoder_layers: cross-modal layers per modality.
        decoder_feed_forward: their hidden width.
        top_segments: segments averaged for the av logits.
        dropout: after the visual projection and inside guidance attention.
        relation_dropout: inside relation blocks.
        interaction_dropout: on the attention weights of the interaction blocks.
    """

    guidance: Guidance = "co"
    psi: float = 0.3
    beta: float = 0.4
    alpha: float = 0.1
    gamma: float = 0.3
    visual_dim: int = 512
    attention_dim: int = 256
    key_dim: int | None = None
    d_model: int = 256
    heads: int = 4
    encoder_layers: int = 2
    encoder_feed_forward: int = 1024
    decoder_layers: int = 1
    decoder_feed_forward: int = 512
    top_segments: int = 4
    dropout: float = 0.2
    relation_dropout: float = 0.1
    interaction_dropout: float = 0.2
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    slots: SlotsConfig = field(default_factory=SlotsConfig)
    spiking: SpikingConfig = field(default_factory=SpikingConfig)


@dataclass
class DistillationConfig:
    """Learning from a trained network's outputs (Hinton et al., arXiv:1503.02531).

    Args:
        teacher: a checkpoint or run directory of the same data; null does without.
        weight: of the distillation term.
        temperature: both networks' event logits are divided by it before they are compared.
    """

    teacher: str | None = None
    weight: float = 1.0
    temperature: float = 2.0


@dataclass
class TrainingConfig:
    """How the network is trained.

    Args:
        seed: decides initial weights, the order of clips and dropout.
        epochs: passes over the training split.
        learning_rate: of Adam.
        milestones: epochs after which the learning rate is multiplied by `decay`.
        decay: see `milestones`.
        gradient_clip: the largest gradient norm; 0 does not clip.
        precision: `32`, `tf32` (products of float32 in TF32 on CUDA, elsewhere as `32`), `bf16-mixed` or `64`.
        device: `auto`, `cpu`, `cuda`.
        devices: how many; more than one trains with DDP.
        protocol: `validation` picks the epoch on the validation split and touches the test split once; `paper` picks
            it on the test split, as the published figures did.
        losses: `reference` keeps the original's quirks (see `snn_cace.losses`), `corrected` does not.
        firing_rate_weight: weight of the loss term that draws firing rates towards their target; 0 leaves it out.
        firing_rate_target: spikes per neuron per simulation step that it draws every spiking layer to.
        surrogate_slope: what the surrogates' alpha is multiplied by in the last epoch, growing linearly from 1 in the
            first; 1 keeps it.
        initialise_from: a checkpoint or run directory whose weights the network starts from, wherever a layer of the
            same size does the same job, spiking or not; learned thresholds of rectified slots without a norm start
            where its activations reach.
        fused: firing rates without writing spikes, where there are kernels for it (`neurons.kernels.lif`); the result
            is the same. False always runs SpikingJelly's nodes.
        recompute: spiking layers that do not run fused run again in the backward pass, instead of keeping every
            simulation step in memory: slower, for long S.
        compile: `off`; `default` trains through torch.compile, which takes minutes at first and again for each batch
            size; `reduce-overhead` also replays CUDA graphs. Evaluation is never compiled.
        distillation: see there.
    """

    seed: int = 0
    epochs: int = 200
    learning_rate: float = 7e-4
    milestones: list[int] = field(default_factory=lambda: [10, 20, 30])
    decay: float = 0.5
    gradient_clip: float = 0.5
    precision: Precision = "32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    protocol: Protocol = "validation"
    losses: Literal["reference", "corrected"] = "corrected"
    firing_rate_weight: float = 0.0
    firing_rate_target: float = 0.1
    surrogate_slope: float = 1.0
    initialise_from: str | None = None
    fused: bool = True
    recompute: bool = False
    compile: Literal["off", "default", "reduce-overhead"] = "off"
    distillation: DistillationConfig = field(default_factory=DistillationConfig)

    def __post_init__(self) -> None:
        self.precision = cast(Precision, str(self.precision))


@dataclass
class Experiment:
    """One network on one data set, trained once.

    Args:
        name: what tables and plots call it.
    """

    name: str = "experiment"
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        check(self)


def check_file_name(name: str) -> None:
    """Raise InputError unless `name` can be the name of one file: results lie in a directory called by it."""
    printable = name.isprintable() and "/" not in name and "\\" not in name
    if not printable or not name.strip(" .") or name != name.strip() or len(name.encode()) > LONGEST_NAME:
        raise InputError(
            f"name {ascii(name)[:80]}: it names a directory, so it is one to {LONGEST_NAME} bytes of printable "
            "characters, not / or \\, not dots alone, without blanks around it"
        )


def check(experiment: Experiment) -> None:
    """Raise InputError for values that types alone do not rule out."""
    check_file_name(experiment.name)
    data, model, training = experiment.data, experiment.model, experiment.training
    positive = {
        "data.batch_size": data.batch_size,
        "data.avdigits.train_clips": data.avdigits.train_clips,
        "data.avdigits.val_clips": data.avdigits.val_clips,
        "data.avdigits.test_clips": data.avdigits.test_clips,
        "training.epochs": training.epochs,
        "training.learning_rate": training.learning_rate,
        "training.devices": training.devices,
        "training.surrogate_slope": training.surrogate_slope,
        "training.distillation.temperature": training.distillation.temperature,
        "training.firing_rate_target": training.firing_rate_target,
        "model.visual_dim": model.visual_dim,
        "model.d_model": model.d_model,
        "model.heads": model.heads,
        "model.top_segments": model.top_segments,
        "model.encoder_layers": model.encoder_layers,
        "model.decoder_layers": model.decoder_layers,
        "model.contrast.temperature": model.contrast.temperature,
        "model.spiking.steps": model.spiking.steps,
    }
    for key, value in positive.items():
        if not value > 0:
            raise InputError(f"{key} must be above 0, not {value}")
    if data.keep_in == "device" and data.workers:
        raise InputError(f"data.keep_in: device needs data.workers: 0, not {data.workers}: clips are there already")
    if data.keep_in == "disk" and data.keep_as != "full":
        raise InputError(f"data.keep_as: {data.keep_as} needs clips that are kept; data.keep_in: disk keeps none")
    if model.d_model % model.heads or model.d_model % 2:
        raise InputError(f"model.d_model ({model.d_model}) must be even and a multiple of model.heads ({model.heads})")
    for name, slot in vars(model.slots).items():
        check_slot(f"model.slots.{name}", slot, model.spiking, temporal=name == "temporal_encoder")


def check_slot(key: str, slot: SlotConfig, shared: SpikingConfig, temporal: bool) -> None:
    """Raise InputError for a slot whose block, direction or numbers do not go together."""
    if not temporal and slot.block == "braincog":
        raise InputError(f"{key}.block: 'braincog' is a temporal encoder; use 'spiking' or 'dense'")
    if not temporal and slot.direction != "forward":
        raise InputError(f"{key}.direction: only the temporal encoder has one; leave it out")
    if slot.block == "dense":
        return
    try:
        block = slot.spiking(shared).block()
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None
    if slot.direction == "recurrent" and block.node.node in WHOLE_SEQUENCE:
        raise InputError(f"{key}: a recurrent block steps its node; {block.node.node} runs over whole sequences only")
    if slot.block == "braincog" and block.node.node in WHOLE_SEQUENCE:
        raise InputError(f"{key}: braincog carries membranes over segments, which {block.node.node} does not have")


def as_dict(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config)


def dotted(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones; an empty mapping stays a value."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return result


def as_yaml(config: Any) -> str:
    return yaml.safe_dump(as_dict(config), sort_keys=False)


def typed_parser(config_class: type, **options: Any) -> ArgumentParser:
    """A parser for `config_class` with `--config FILE` and a dotted option for every field."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, **options)
    parser.add_argument("--config", action="config", help="YAML file")
    parser.add_class_arguments(config_class, None, as_group=False)
    return parser


def instantiate(parser: ArgumentParser, parsed: Any, config_class: type) -> Any:
    """The `config_class` within a parsed namespace; other keys are left alone."""
    built = parser.instantiate_classes(parsed)
    return config_class(**{f.name: getattr(built, f.name) for f in dataclasses.fields(config_class)})


def read_config(path: str | Path, config_class: type, overrides: Sequence[str] = ()) -> Any:
    """The YAML file at `path` as a `config_class`, dotted overrides (`--model.psi 0.5` as two words) put over it.

    Raises:
        InputError: no such file, not YAML, an unknown key, a value of the wrong type or out of range.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no config file {path}")
    return parse_config(config_class, ["--config", str(path), *overrides], where=str(path))


def parse_config(config_class: type, arguments: Sequence[str], where: str) -> Any:
    parser = typed_parser(config_class)
    with config_errors(where):
        return instantiate(parser, parser.parse_args(list(arguments)), config_class)


def from_dict(values: dict[str, Any], config_class: type, where: str) -> Any:
    """`values`, as `as_dict` gives them, as a `config_class`.

    Raises:
        InputError: an unknown key or a value of the wrong type, naming `where`.
    """
    parser = typed_parser(config_class)
    with config_errors(where):
        return instantiate(parser, parser.parse_object(values), config_class)


@contextmanager
def config_errors(where: str) -> Iterator[None]:
    """What jsonargparse says of bad options, as an InputError of one line."""
    from jsonargparse import ArgumentError

    try:
        yield
    except (ArgumentError, TypeError, ValueError) as error:
        raise InputError(f"{where}: {' '.join(str(error).split())}") from None
