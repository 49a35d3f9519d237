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

    from neurons import NodeConfig

Precision = Literal["32", "bf16-mixed", "64", 32, 64]
Protocol = Literal["validation", "paper"]
Guidance = Literal["none", "audio", "visual", "co"]


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
        preload: hold each split in memory; otherwise rows are read from disk as they are needed.
    """

    directory: str | None = None
    avdigits: AVDigitsConfig = field(default_factory=AVDigitsConfig)
    modalities: Literal["both", "audio", "visual"] = "both"
    batch_size: int = 64
    workers: int = 0
    preload: bool = True


@dataclass
class SpikingConfig:
    """Defaults shared by every spiking slot.

    Args:
        steps: simulation steps S per segment, for the block `spiking`; `braincog` has its own below.
        membrane: `carry` the membrane from segment to segment, or `reset` it at each.
        tau: membrane time constant in simulation steps, above 1.
        threshold: firing threshold, above 0.
        reset: `hard` to zero, or `soft` by subtracting the threshold.
        detach_reset: keep the reset out of the gradient.
        surrogate: `piecewise_quadratic`, `atan`, `sigmoid`, ... fire at or above the threshold, as SpikingJelly does;
            `quadratic_gate` fires strictly above it, as the original does.
        alpha: the surrogate's slope parameter.
    """

    steps: int = 4
    membrane: Literal["carry", "reset"] = "carry"
    tau: float = 2.0
    threshold: float = 0.5
    reset: Literal["hard", "soft"] = "hard"
    detach_reset: bool = True
    surrogate: str = "piecewise_quadratic"
    alpha: float = 2.0


@dataclass
class SlotConfig:
    """One slot of the network. Null means the shared default in `model.spiking`.

    Args:
        block: `dense`, `spiking`, or (temporal encoder only) `braincog`, the original's encoder.
        direction: for the temporal encoder's block `spiking`: `forward` is causal in segments; `bidirectional` gives
            half of the neurons the segments in reverse, as the BiLSTM does.
    """

    block: Literal["dense", "spiking", "braincog"] = "dense"
    direction: Literal["forward", "bidirectional"] = "forward"
    steps: int | None = None
    membrane: Literal["carry", "reset"] | None = None
    tau: float | None = None
    threshold: float | None = None
    reset: Literal["hard", "soft"] | None = None
    detach_reset: bool | None = None
    surrogate: str | None = None
    alpha: float | None = None

    def spiking(self, shared: SpikingConfig) -> SpikingConfig:
        """The shared defaults with this slot's own values put over them."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(shared)}
        return dataclasses.replace(shared, **{name: value for name, value in own.items() if value is not None})


@dataclass
class SlotsConfig:
    """Which blocks spike."""

    temporal_encoder: SlotConfig = field(default_factory=SlotConfig)
    feed_forward: SlotConfig = field(default_factory=SlotConfig)


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
class TrainingConfig:
    """How the network is trained.

    Args:
        seed: decides initial weights, the order of clips and dropout.
        epochs: passes over the training split.
        learning_rate: of Adam.
        milestones: epochs after which the learning rate is multiplied by `decay`.
        decay: see `milestones`.
        gradient_clip: the largest gradient norm; 0 does not clip.
        precision: `32`, `bf16-mixed` or `64`.
        device: `auto`, `cpu`, `cuda`.
        devices: how many; more than one trains with DDP.
        protocol: `validation` picks the epoch on the validation split and touches the test split once; `paper` picks
            it on the test split, as the published figures did.
        losses: `reference` keeps the original's quirks (see `snn_cace.losses`), `corrected` does not.
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


def node_config(spiking: SpikingConfig) -> NodeConfig:
    """The numbers of one node, as `neurons` takes and checks them.

    Raises:
        ValueError: a number out of range or an unknown surrogate.
    """
    from neurons import NodeConfig

    names = [f.name for f in dataclasses.fields(NodeConfig)]
    return NodeConfig(**{name: getattr(spiking, name) for name in names})


def check(experiment: Experiment) -> None:
    """Raise InputError for values that types alone do not rule out."""
    data, model, training = experiment.data, experiment.model, experiment.training
    positive = {
        "data.batch_size": data.batch_size,
        "data.avdigits.train_clips": data.avdigits.train_clips,
        "data.avdigits.val_clips": data.avdigits.val_clips,
        "data.avdigits.test_clips": data.avdigits.test_clips,
        "training.epochs": training.epochs,
        "training.learning_rate": training.learning_rate,
        "training.devices": training.devices,
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
    if model.d_model % model.heads or model.d_model % 2:
        raise InputError(f"model.d_model ({model.d_model}) must be even and a multiple of model.heads ({model.heads})")
    if model.slots.feed_forward.block == "braincog":
        raise InputError("model.slots.feed_forward.block: 'braincog' is a temporal encoder; use 'spiking' or 'dense'")
    for name, slot in vars(model.slots).items():
        spiking = slot.spiking(model.spiking)
        if slot.block == "dense":
            continue
        if spiking.steps < 1:
            raise InputError(f"model.slots.{name}.steps must be at least 1, not {spiking.steps}")
        try:
            node_config(spiking)
        except ValueError as error:
            raise InputError(f"model.slots.{name}: {error}") from None


def as_dict(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config)


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
