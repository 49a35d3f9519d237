"""The experiment as typed dataclasses. A YAML file is an instance of `Experiment`; so is any dotted override.

Wherever keys are given (a file, its base, what a comparison varies, a tuning's ranges), `a.b: 1` and
`a: {b: 1}` mean the same. A key left empty is as if it were not there, unless null is one of its values.
`snn_cace.yaml_text` says what each spelling of a value means.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from neurons.config import BlockConfig, Direction, Kind
from snn_cace import yaml_text
from snn_cace.counting.models import MODELS
from snn_cace.data.readers import reader_name
from snn_cace.errors import InputError, did_you_mean, one_line
from snn_cace.networks import find_network
from snn_cace.networks.avel import AvelConfig
from snn_cace.restricted import (
    ClosedUnitInterval,
    DropoutProbability,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seed,
)

Precision = Literal["32", "tf32", "bf16-mixed", "64", 32, 64]
Protocol = Literal["validation", "paper"]
Guidance = Literal["none", "audio", "visual", "co"]
Supervision = Literal["full", "weak"]
Block = Literal[
    "dense",
    "dense-quantised",
    "spiking",
    "rectified",
    "leaky",
    "quantised",
    "braincog",
    "braincog-rectified",
    "braincog-leaky",
    "braincog-quantised",
]
LONGEST_NAME = 200
"""Bytes of an experiment's or a comparison's name in UTF-8, which file systems take with an ending added."""


@dataclass
class AVDigitsConfig:
    """The embedded data set AV-Digits.

    Args:
        seed: decides every clip.
        train_clips: clips made from the official training utterances.
        val_clips: clips made from utterances and digit images of their own.
        test_clips: likewise.
        background_clips: training clips without any event, beside the others, for `data.background_clips`.
    """

    seed: Seed = 0
    train_clips: PositiveInt = 1600
    val_clips: PositiveInt = 400
    test_clips: PositiveInt = 400
    background_clips: NonNegativeInt = 0


@dataclass
class DataConfig:
    """Where clips come from and how they are batched.

    Args:
        directory: where its files are.
        reader: which data set it is: one of `snn_cace.data.readers`, or one of your own, `package.module:Class`. Null
            is `ave`, AVE's HDF5 layout, where there is a `directory`, else `avdigits`, the embedded data set AV-Digits.
        avdigits: AV-Digits itself.
        split_seed: draws the validation split of data sets that are published without one.
        modalities: `both`, or one of them with the other set to zero.
        background_clips: the training split has the directory's `visual_feature_noisy.h5` and
            `audio_feature_noisy.h5` too, clips without any event, as published for weak supervision.
        batch_size: clips per batch, over all devices.
        shuffle: training clips are drawn in another order each epoch.
        drop_last: training leaves out a last batch that is not full.
        workers: processes that read ahead; 0 reads in the main process.
        keep_in: where clips are kept once each file has been read from beginning to end: on the `device` that trains,
            in `memory`, or `mapped` from a flat file on disk that goes with the process. `disk` reads rows as they are
            needed, which is slow in a file that is compressed several rows at a time. `auto` is the first of these that
            all splits fit into with as much to spare.
        keep_as: what features are kept as: `full` (the precision they are used in), `float16` or `bfloat16`.
    """

    directory: str | None = None
    reader: str | None = None
    avdigits: AVDigitsConfig = field(default_factory=AVDigitsConfig)
    split_seed: Seed = 0
    modalities: Literal["both", "audio", "visual"] = "both"
    background_clips: bool = False
    batch_size: PositiveInt = 64
    shuffle: bool = True
    drop_last: bool = False
    workers: NonNegativeInt = 0
    keep_in: Literal["auto", "device", "memory", "mapped", "disk"] = "auto"
    keep_as: Literal["full", "float16", "bfloat16"] = "full"


@dataclass(frozen=True)
class Slot:
    """One slot of the network, as the mapping of a config gives it; a value of null is as if it were not there.

    Args:
        block: `dense` (the original's), `spiking`, or a control without spikes (docs/explanations/controls.md).
            `braincog` is the original's spiking temporal encoder; its direction, membrane, coding, readout and norm
            are fixed.
        direction: of the temporal encoder's block `spiking`: `forward` is causal in segments; `bidirectional` gives
            half of the neurons the segments in reverse, as the BiLSTM does; `recurrent` feeds spikes back, one
            simulation step later.
        overrides: those of model.spiking, where they differ. Without `steps` of its own `braincog` takes 15; a
            `dense` block has the `norm` that is given here, or none.
    """

    block: Block = "dense"
    direction: Direction = "forward"
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def is_dense(self) -> bool:
        """Whether it is a block of the original's, its activations rounded or not."""
        return self.block.startswith("dense")

    @property
    def is_braincog(self) -> bool:
        return self.block.startswith("braincog")

    @property
    def kind(self) -> Kind:
        """`spiking`, or which control of a spiking block it is; not of dense blocks."""
        name = self.block.removeprefix("braincog-")
        return "spiking" if name == "braincog" else cast(Kind, name)

    @property
    def spikes(self) -> bool:
        return self.block in ("spiking", "braincog")

    def control(self, kind: str) -> str:
        """What `block` is for the control `kind` of this spiking block."""
        return f"braincog-{kind}" if self.is_braincog else kind

    def spiking(self, shared: BlockConfig) -> BlockConfig:
        """The shared defaults with this slot's own values put over them.

        Raises:
            ValueError: a number out of range, an unknown name, or parts that do not go together.
        """
        dropped: dict[str, Any] = {"node_parameters": {}} if names_another_node(self.overrides, vars(shared)) else {}
        return dataclasses.replace(shared, **dropped | self.overrides)


def names_another_node(changes: dict[str, Any], base: dict[str, Any]) -> bool:
    """Whether both are keys of a block whose node differs, so that the parameters of one are not the other's."""
    return "node" in changes and "node" in base and changes["node"] != base["node"]


@dataclass
class SlotsConfig:
    """Which blocks spike. Guidance attention and the contrastive projector never do.

    A slot is a mapping: `block`, `direction`, and what differs from model.spiking, by its keys.

    Args:
        visual_projection: the layer that every patch goes through first.
        temporal_encoder: the BiLSTM's place. One key at a time, as in `--model.slots.temporal_encoder.block spiking`:
            `block` (dense, spiking, rectified, leaky, quantised, braincog), `direction` (forward, bidirectional,
            recurrent), and every key of model.spiking.
        feed_forward: the hidden layer inside every relation block; `block`, and every key of model.spiking.
        interaction: the attention of the audio-visual interaction blocks; spiking, it has no softmax.
        event_head: the classifier of the clip's event.
    """

    visual_projection: dict[str, Any] = field(default_factory=dict)
    temporal_encoder: dict[str, Any] = field(default_factory=dict)
    feed_forward: dict[str, Any] = field(default_factory=dict)
    interaction: dict[str, Any] = field(default_factory=dict)
    event_head: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            given = {key: value for key, value in values.items() if value is not None}
            setattr(self, name, {"block": "dense", "direction": "forward"} | given)

    def slot(self, name: str) -> Slot:
        """The slot of this name."""
        own = dict(getattr(self, name))
        return Slot(own.pop("block", "dense"), own.pop("direction", "forward"), own)

    def every(self) -> dict[str, Slot]:
        """All slots, by name."""
        return {name: self.slot(name) for name in vars(self)}


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
    strength: NonNegativeFloat = 0.6
    noise: NonNegativeFloat = 0.1
    start: ClosedUnitInterval = 0.125
    coefficient: NonNegativeFloat = 1.0
    temperature: PositiveFloat = 0.01


@dataclass
class ModelConfig:
    """Sizes and constants of the network. The defaults are those of CACE-Net's original; configs/ave has others.

    Args:
        network: `cace`, or a peer: `avel`, `cmran`, `cmbs`, or one of your own, `package.module:Class`. A peer reads
            the keys below that its parts need.
        reference: keeps the faults of a peer's original that lie in the network itself: AVEL's attention adds the sound
            along the wrong axis, weakly supervised CMBS takes a probability for a logit.
        guidance: which modality guides which: `none`, `audio`, `visual` or `co` (both); peers know `none` and `audio`.
        causal: no block sees later segments: the temporal encoder runs forward only, attention over segments is masked,
            and a segment's class comes from the segments up to it.
        window: segments that a causal network's attention and class logits look back at, the present one included.
        psi: strength of the picture-guided weighting of the sound.
        beta: strength of the picture's self-attended weighting.
        alpha: strength of the crosswise temporal gates.
        gamma: weight of the av logits within the event logits.
        visual_dim: width of a patch after the visual projection.
        attention_dim: hidden width of guidance attention.
        key_dim: width of queries and keys in the pictures' self-attention; null is a quarter of visual_dim.
        d_model: width of relation blocks and head.
        heads: attention heads.
        interaction_heads: of the interaction blocks; null is as many.
        encoder_layers: self-relation layers per modality.
        encoder_feed_forward: their hidden width.
        decoder_layers: cross-modal layers per modality.
        decoder_feed_forward: their hidden width.
        top_segments: segments averaged for the av logits.
        dropout: after the visual projection and inside guidance attention.
        guidance_dropout: inside guidance attention, where it is another.
        relation_dropout: inside relation blocks.
        interaction_dropout: on the attention weights of the interaction blocks.
        contrast: of CACE-Net alone, and not under weak supervision.
        avel: of AVEL alone.
    """

    network: str = "cace"
    reference: bool = False
    guidance: Guidance = "co"
    causal: bool = False
    window: PositiveInt = 10
    psi: NonNegativeFloat = 0.3
    beta: NonNegativeFloat = 0.4
    alpha: NonNegativeFloat = 0.1
    gamma: NonNegativeFloat = 0.3
    visual_dim: PositiveInt = 512
    attention_dim: PositiveInt = 256
    key_dim: PositiveInt | None = None
    d_model: PositiveInt = 256
    heads: PositiveInt = 4
    interaction_heads: PositiveInt | None = None
    encoder_layers: PositiveInt = 2
    encoder_feed_forward: PositiveInt = 1024
    decoder_layers: PositiveInt = 1
    decoder_feed_forward: PositiveInt = 512
    top_segments: PositiveInt = 4
    dropout: DropoutProbability = 0.2
    guidance_dropout: DropoutProbability | None = None
    relation_dropout: DropoutProbability = 0.1
    interaction_dropout: DropoutProbability = 0.2
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    avel: AvelConfig = field(default_factory=AvelConfig)
    slots: SlotsConfig = field(default_factory=SlotsConfig)
    spiking: BlockConfig = field(default_factory=BlockConfig)


@dataclass
class TrainingConfig:
    """How the network is trained.

    Args:
        seed: decides initial weights, the order of clips and dropout.
        epochs: passes over the training split, at most.
        patience: epochs without a better accuracy, on the split that the epoch is picked on, after which training ends;
            0 always trains them all.
        learning_rate: of Adam.
        weight_decay: share of the learning rate by which each step shrinks weights, decoupled from the gradient.
        milestones: epochs after which the learning rate is multiplied by `decay`.
        decay: see `milestones`.
        gradient_clip: the largest gradient norm; 0 does not clip.
        precision: `32`, `tf32` (products of float32 in TF32 on CUDA, elsewhere as `32`), `bf16-mixed` or `64`.
        device: `auto`, `cpu`, `cuda`.
        devices: how many, on each node; more than one trains with DDP.
        nodes: machines that train one network, each started by torchrun or SLURM.
        deterministic: only operations that give the same bits each time; an error where there is none.
        protocol: `validation` picks the epoch on the validation split and touches the test split once; `paper` picks
            it on the test split, as the published figures did.
        supervision: `full` learns from labels of segments, `weak` from labels of clips alone; accuracy is of segments
            in either case.
        losses: `reference` keeps the originals' quirks (see `snn_cace.training.losses`), `corrected` does not.
        firing_rate_weight: weight of the loss term that draws firing rates towards their target; 0 leaves it out.
        firing_rate_target: spikes per neuron per simulation step that it draws every spiking layer to.
        energy_weight: weight of the loss term that holds the network's expected energy, as a share of its ANN's, down
            to a target: each layer's firing rate weighted by what its spikes cause and by prices
            (`snn_cace.training.energy`); 0 leaves it out.
        energy_target: share of the ANN's energy below which the term is zero.
        energy_model: whose prices, one of `snn_cace.counting.models`: `compute`, `memory`, `sram`.
        fused: firing rates without writing spikes, where there are kernels for it (`neurons.kernels.lif`); the result
            is the same. False always runs SpikingJelly's nodes.
        compile: `off`; `default` trains through torch.compile, which takes minutes at first and again for each batch
            size; `reduce-overhead` also replays CUDA graphs. Evaluation is never compiled.
    """

    seed: Seed = 0
    epochs: PositiveInt = 200
    patience: NonNegativeInt = 0
    learning_rate: PositiveFloat = 7e-4
    weight_decay: NonNegativeFloat = 0.0
    milestones: list[NonNegativeInt] = field(default_factory=lambda: [10, 20, 30])
    decay: PositiveFloat = 0.5
    gradient_clip: NonNegativeFloat = 0.5
    precision: Precision = "32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    deterministic: bool = False
    protocol: Protocol = "validation"
    supervision: Supervision = "full"
    losses: Literal["reference", "corrected"] = "corrected"
    firing_rate_weight: NonNegativeFloat = 0.0
    firing_rate_target: PositiveFloat = 0.1
    energy_weight: NonNegativeFloat = 0.0
    energy_target: NonNegativeFloat = 0.4
    energy_model: str = "memory"
    fused: bool = True
    compile: Literal["off", "default", "reduce-overhead"] = "off"

    def __post_init__(self) -> None:
        whole = int(self.precision) if isinstance(self.precision, float) else self.precision
        self.precision = cast(Precision, str(whole))


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
        check_numbers(self)
        check(self)


def check_file_name(name: str) -> None:
    """Raise InputError unless `name` can be the name of one file: results lie in a directory called by it."""
    printable = name.isprintable() and "/" not in name and "\\" not in name
    if not printable or not name.strip(" .") or name != name.strip() or len(name.encode()) > LONGEST_NAME:
        raise InputError(
            f"name {ascii(name)[:80]}: it names a directory, so it is one to {LONGEST_NAME} bytes of printable "
            "characters, not / or \\, not dots alone, without blanks around it"
        )


def check_numbers(config: Any, prefix: str = "") -> None:
    """Hold every number, in `config` and below, against its restricted type, and leave it a plain int or float.

    Raises:
        InputError: one out of range, NaN or infinity, naming its key.
    """
    for name, hint in hints_of(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            check_numbers(value, f"{prefix}{name}.")
            continue
        refuse_infinite(value, f"{prefix}{name}")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise InputError(f"{prefix}{name}: {value} is beyond what a machine counts to; give one below 2**63")
        restricted = next((kind for kind in kinds_of(hint) if hasattr(kind, "_restrictions")), None)
        try:
            setattr(config, name, plain(value, restricted))
        except ValueError as error:
            raise InputError(f"{prefix}{name}: {error}") from None


def refuse_infinite(value: Any, key: str) -> None:
    """Raise InputError, naming its key, for NaN or infinity in a value, or within its lists and mappings."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{key}: {value} is no finite number")
    if isinstance(value, dict):
        for name, inner in value.items():
            refuse_infinite(inner, f"{key}.{name}" if key else name)
    if isinstance(value, list):
        for inner in value:
            refuse_infinite(inner, key)


def plain(value: Any, restricted: Any = None) -> Any:
    """Numbers as int or float, once their restricted type has taken them, in mappings and lists too; all else as is."""
    if isinstance(value, dict):
        return {name: plain(inner, restricted) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner, restricted) for inner in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = value if restricted is None else restricted(value)
    return int(number) if isinstance(number, int) else float(number)


@functools.cache
def hints_of(config_class: Any) -> dict[str, Any]:
    return get_type_hints(config_class)


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows: of `X | None`, X and None."""
    return getattr(hint, "__args__", ()) or (hint,)


def check(experiment: Experiment) -> None:
    """Raise InputError for values that types alone do not rule out."""
    check_file_name(experiment.name)
    for key, value in dotted(as_dict(experiment)).items():
        if value == "":
            raise InputError(f"{key} is empty; give it a value, or leave it out")
    data, model = experiment.data, experiment.model
    models = [name for name, model in MODELS.items() if model.compared]
    if experiment.training.energy_model not in models:
        raise InputError(f"training.energy_model: no {experiment.training.energy_model}; there are {', '.join(models)}")
    if data.keep_in == "device" and data.workers:
        raise InputError(f"data.keep_in: device needs data.workers: 0, not {data.workers}: clips are there already")
    if data.keep_in == "disk" and data.keep_as != "full":
        raise InputError(f"data.keep_as: {data.keep_as} needs clips that are kept; data.keep_in: disk keeps none")
    reader_name(data)
    heads = [model.heads, model.interaction_heads or model.heads]
    if any(model.d_model % number for number in (*heads, 2)):
        raise InputError(f"model.d_model ({model.d_model}) must be even and a multiple of model.heads {heads}")
    for name, values in vars(model.slots).items():
        setattr(model.slots, name, typed_slot(f"model.slots.{name}", values))
    find_network(model.network).check_config(model, experiment.training.supervision)
    if model.causal and model.slots.slot("temporal_encoder").direction == "bidirectional":
        raise InputError(
            "model.slots.temporal_encoder.direction: bidirectional sees later segments, model.causal none; set it to "
            "forward or recurrent, or model.causal to false"
        )
    for name, slot in model.slots.every().items():
        check_slot(f"model.slots.{name}", slot, model.spiking, temporal=name == "temporal_encoder")


def carried_slots(model: ModelConfig, leaky: bool = True) -> list[str]:
    """Slots that spike and whose neurons remember from segment to segment, by a leaky membrane, which a control can
    have, or else otherwise; those of `interaction` and `event_head` start from rest.
    """
    found = []
    for name, slot in model.slots.every().items():
        if slot.spikes:
            block = slot.spiking(model.spiking)
            resets = name in ("interaction", "event_head") or block.membrane == "reset"
            if block.neuron.is_leaky is leaky and (slot.is_braincog or not resets):
                found.append(name)
    return found


def refuse_drawn(model: ModelConfig, why: str) -> None:
    """Raise InputError, saying why, where a slot's coding draws anew at each run."""
    for name, slot in model.slots.every().items():
        if slot.spikes and slot.spiking(model.spiking).coding == "poisson":
            raise InputError(f"model.slots.{name}: poisson coding draws anew at each run, {why}")


@functools.cache
def slot_parser() -> ArgumentParser:
    """A parser for the keys of a slot."""
    parser = ArgumentParser(exit_on_error=False, parser_mode=yaml_text.MODE)
    parser.add_class_arguments(Slot, None, as_group=False, skip={"overrides"})
    parser.add_class_arguments(BlockConfig, None, as_group=False)
    return parser


def typed_slot(key: str, values: dict[str, Any]) -> dict[str, Any]:
    """The mapping of a slot, each value of its key's type.

    Raises:
        InputError: an unknown key or a value of the wrong type, naming it.
    """
    try:
        return slot_parser().parse_object(copy.deepcopy(values), defaults=False).as_dict()
    except (ArgumentError, TypeError, ValueError) as error:
        raise InputError(f"{key}: {in_plain_words(error, slot_parser())}") from None


def check_slot(key: str, slot: Slot, shared: BlockConfig, temporal: bool) -> None:
    """Raise InputError for a slot whose block, direction or numbers do not go together."""
    if not temporal and slot.is_braincog:
        raise InputError(f"{key}.block: 'braincog' is a temporal encoder; use 'spiking' or 'dense'")
    if not temporal and slot.direction != "forward":
        raise InputError(f"{key}.direction: only the temporal encoder has one; leave it out")
    if slot.block == "dense":
        return
    try:
        block = slot.spiking(shared)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None
    if not slot.is_dense and slot.kind == "leaky" and not block.neuron.is_leaky:
        raise InputError(f"{key}.block: {slot.block}: {block.node} has no leaky membrane; use rectified")
    if slot.direction == "recurrent" and not block.neuron.has_steps:
        raise InputError(f"{key}: a recurrent block steps its node; {block.node} runs over whole sequences only")
    if slot.is_braincog and not block.neuron.has_steps:
        raise InputError(f"{key}: braincog carries membranes over segments, which {block.node} does not have")


def as_dict(config: Any) -> dict[str, Any]:
    return dataclasses.asdict(config)


def dotted(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones; an empty mapping stays a value."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= dotted(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return result


def as_yaml(config: Any) -> str:
    return yaml_text.dump(as_dict(config))


def different_keys(first: Any, second: Any) -> list[str]:
    """Dotted keys in which two configs of one class differ: whether a run goes on with the same experiment.

    Both are instances, so a file that was written before a key was added has that key's default.
    """
    a, b = dotted(as_dict(first)), dotted(as_dict(second))
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def with_base(path: Path, config_class: type, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The YAML file at `path`, nested, put over the one that its `base` names, and so on.

    Raises:
        InputError: no such file, not a YAML mapping, a key that is there twice, a base with an unknown key or a value
            of the wrong type, or a file that is its own base.
    """
    if not path.is_file():
        raise InputError(f"no config file {path}" + (f", the base of {above[-1]}" if above else ""))
    if path.resolve() in above:
        raise InputError(f"{path} is its own base")
    try:
        content = yaml_text.load(path.read_text(encoding="utf-8-sig"), str(path))
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise InputError(f"{path} is no mapping of keys to values")
        base = content.pop("base", None)
        content = nested(content, config_class, str(path))
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not YAML: {one_line(error)}") from None
    if above and config_class is not dict:  # or the file that has it as base would be named for its faults
        with config_errors(str(path), typed_parser(config_class)) as parser:
            parser.parse_object(without_retired(content), defaults=False)
    if base is None:
        return content
    if not isinstance(base, str):
        raise InputError(f"{path}: base must be the name of a file beside it, not {base!r}")
    return merged(with_base(path.parent / base, config_class, (*above, path.resolve())), content)


def nested(values: dict[str, Any], config_class: type, where: str, above: str = "") -> dict[str, Any]:
    """`values` of a `config_class` with mappings in place of dotted keys, and without keys left empty that cannot be.

    What is keyed by an experiment's dotted keys in turn (`dict[str, Any]`, lists of them) becomes nested too; all other
    mappings stay as they are: they are keyed by names.

    Raises:
        InputError: a key that is given both ways, or a value where there should be a mapping, naming it.
    """
    result: dict[str, Any] = {}
    hints = hints_of(config_class)
    for key, value in values.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: {above}: Key must be a string, got: {key!r}")
        head, _, rest = key.partition(".")
        value, hint = {rest: value} if rest else value, hints.get(head, Any)
        if value is None and hint is not Any and type(None) not in kinds_of(hint):
            continue
        inner, key = keyed_by(hint), f"{above}{head}"
        if inner is not None and isinstance(value, dict):
            value = nested(value, inner, where, f"{key}.")
        elif inner is not None and isinstance(value, list) and inner is not hint:
            value = [nested(item, inner, where, f"{key}.") if isinstance(item, dict) else item for item in value]
        result[head] = joined(result[head], value, where, key) if head in result else value
    for head, value in result.items():
        if dataclasses.is_dataclass(hints.get(head)) and not isinstance(value, dict):
            raise InputError(f"{above}{head} must be a mapping of keys to values, not {value!r}")
    return result


def keyed_by(hint: Any) -> type | None:
    """The class whose keys the mappings of a type have, nested or dotted; None where it has no such mappings."""
    if hint in (dict[str, Any], list[dict[str, Any]], list[str | dict[str, Any]]):
        return Experiment
    return hint if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None


def joined(first: Any, second: Any, where: str, key: str) -> dict[str, Any]:
    """Two parts of one mapping; an InputError where both give a value to the same key."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        raise InputError(f"{where}: {key} is there twice; leave one out")
    both = {name: joined(first[name], second[name], where, f"{key}.{name}") for name in first.keys() & second.keys()}
    return first | second | both


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` over it, both nested, mapping by mapping."""
    result = dict(base)
    if names_another_node(changes, base):
        result.pop("node_parameters", None)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner if isinstance(inner, dict) else {}, value) if isinstance(value, dict) else value
    return result


def put_over(*changes: dict[str, Any]) -> dict[str, Any]:
    """What changes an experiment, nested or dotted, the later over the earlier: nested.

    Raises:
        InputError: one that gives a key both ways.
    """
    return functools.reduce(merged, (nested(change, Experiment, "changes") for change in changes), {})


@functools.cache
def typed_parser(config_class: type) -> ArgumentParser:
    """A parser for `config_class` with a dotted option for every field; the first takes two seconds to build."""
    parser = ArgumentParser(exit_on_error=False, parser_mode=yaml_text.MODE)
    parser.add_class_arguments(config_class, None, as_group=False)
    return parser


def read_config(path: str | Path, config_class: type, overrides: dict[str, Any] | None = None) -> Any:
    """The YAML file at `path` as a `config_class`, with `overrides`, nested or dotted, put over it.

    Raises:
        InputError: no such file, not YAML, an unknown key, a value of the wrong type or out of range.
    """
    changes = nested(overrides or {}, config_class, f"{path}, changed")
    return from_dict(merged(with_base(Path(path), config_class), changes), config_class, str(path))


def from_dict(values: dict[str, Any], config_class: type, where: str) -> Any:
    """`values`, nested or dotted, as a `config_class`.

    Raises:
        InputError: an unknown key or a value of the wrong type, naming `where`.
    """
    with config_errors(where, typed_parser(config_class)) as parser:
        values = nested(without_retired(values), config_class, where)
        refuse_infinite(values, "")
        # jsonargparse makes its own numbers of lists'.
        built = parser.instantiate(parser.parse_object(copy.deepcopy(values), defaults=False))
        config = config_class(**vars(built))
    check_numbers(config)
    return config


RETIRED = {
    "training.surrogate_slope": 1.0,
    "training.initialise_from": None,
    "training.recompute": False,
    "training.distillation.teacher": None,
    "training.distillation.weight": 1.0,
    "training.distillation.temperature": 2.0,
    "model.spiking.coding_range": "sigmoid",
    **{f"model.slots.{slot}.coding_range": None for slot in hints_of(SlotsConfig)},
}
"""Keys that experiments had once, and what did nothing there: files that say just that still mean the same."""


def without_retired(values: dict[str, Any]) -> dict[str, Any]:
    """`values`, nested or dotted, without retired keys that did nothing."""
    flat = dotted(values)
    if not flat.keys() & RETIRED.keys():
        return values
    return {key: value for key, value in flat.items() if key not in RETIRED or value != RETIRED[key]}


@contextmanager
def config_errors(where: str, parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """The parser, and what jsonargparse says of bad options of it as an InputError of one line."""
    try:
        yield parser
    except (ArgumentError, TypeError, ValueError) as error:
        raise InputError(f"{where}: {in_plain_words(error, parser)}") from None


def in_plain_words(error: Exception, parser: ArgumentParser) -> str:
    """What jsonargparse says of bad options, without the names of Python's types, and with the key that was meant."""
    text = re.sub(r'Parser key "([^"]+)": ', r"\1: ", one_line(error))
    text = re.sub(r"Expected a (.+?)\. Got value: (.*)", lambda found: f"{needed(found[1])}, not {found[2]}", text)
    text = re.sub(
        r"Not of type \w+: (\S+) does not conform to restriction (.+)",
        lambda found: f"must be {found[2].replace('v', '')}, not {found[1]}",
        text,
    )
    text = re.sub(r"Not of type \w+: invalid literal for int.*: (\S+)", r"must be a whole number, not \1", text)
    text = re.sub(r"Not of type \w+: could not convert string to float: (\S+)", r"must be a number, not \1", text)
    unknown = (
        re.search(r"unrecognized arguments: --([^\s=]+)", text)
        or re.search(r"()Option '(.+)' is not accepted", text)
        or re.search(r"Group '(.+)' does not accept option '(.+)'", text)
    )
    if unknown is None:
        return text
    key = ".".join(filter(None, unknown.groups()))
    known = {option.removeprefix("--") for option in parser._option_string_actions}
    return f"unknown key {key}{did_you_mean(key, known, '--' if 'arguments: --' in text else '')}"


def needed(kind: str) -> str:
    """What a value must be, of what jsonargparse says of its type."""
    if choices := re.fullmatch(r"typing\.Literal\[(.+)\]", kind):
        return f"must be one of {choices[1]}"
    named = re.fullmatch(r"<class '(?:.*\.)?(\w+)'>", kind)
    return f"must be {NUMBERS.get(named[1], named[1]) if named else kind}"


NUMBERS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}
