"""The specification of a network: all that reading a config needs to know. It imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from neurons import nodes
from snn_cace.errors import InputError

if TYPE_CHECKING:
    from snn_cace.config import ModelConfig
    from snn_cace.contracts import FeatureShape, LabelKind
    from snn_cace.model.network import Network


Kind = TypeVar("Kind")


class Original(NamedTuple):
    """The state dict of a network's original.

    names: its module prefixes to ours. background: whether it is one of its classes. extra: entries of ours that it
    lacks. first, last: our entries whose sizes are those of a patch and of the classes.
    """

    names: dict[str, str]
    background: bool
    extra: dict[str, Any]
    first: str = "visual_projection.weight"
    last: str = "head.event.weight"


class NetworkSpec:
    """One network: which keys of a config it has, and how it is built.

    title: what pages call it. modules: its `snn_cace.model.Network`, as `package.module:Class`. weak_modules: the same
    under weak supervision, where that is another. guidances: values of `model.guidance` that it knows. contrast,
    causal: the supervisions under which it has a contrastive loss, and may be causal. labels: how many classes a
    segment may have.
    """

    title: ClassVar[str]
    modules: ClassVar[str]
    weak_modules: ClassVar[str | None] = None
    guidances: ClassVar[tuple[str, ...]] = ("audio", "none")
    contrast: ClassVar[tuple[str, ...]] = ()
    causal: ClassVar[tuple[str, ...]] = ()
    labels: ClassVar[tuple[LabelKind, ...]] = ("single",)

    def build(self, model: ModelConfig, shape: FeatureShape, weak: bool) -> Network:
        """The network with fresh weights, for features of this shape."""
        return nodes.imported(self.weak_modules if weak and self.weak_modules else self.modules)(model, shape, weak)

    def slots(self, model: ModelConfig, weak: bool) -> list[str]:
        """The slots that it has."""
        return []

    def has_fault(self, model: ModelConfig, weak: bool) -> bool:
        """Whether its original has a fault in the network itself, which `model.reference` keeps."""
        return False

    def variant(self, model: ModelConfig) -> tuple[str, ...]:
        """What else must be the same for two of it to be compared with each other block by block."""
        return ()

    def check_config(self, model: ModelConfig, supervision: str) -> None:
        """Raise InputError for keys that the network does not have, or not under this supervision."""
        name, weak = model.network, supervision == "weak"
        if model.guidance not in self.guidances:
            known = " and ".join(self.guidances)
            raise InputError(f"model.guidance: {model.guidance} is CACE-Net's; {name} knows {known}")
        if model.contrast.enabled and supervision not in self.contrast:
            reason = "it needs labels of segments, weak supervision has none" if self.contrast else f"{name} has none"
            raise InputError(f"model.contrast.enabled: {reason}; set it to false")
        if model.causal and supervision not in self.causal:
            raise InputError(f"model.causal: {'weak supervision pools' if weak else name + ' sees'} whole clips")
        if model.reference and not self.has_fault(model, weak):
            raise InputError(f"model.reference: {name} has no fault of its own here; see training.losses")
        there = self.slots(model, weak)
        for slot, filled in model.slots.every().items():
            if filled.block != "dense" and slot not in there:
                has = ", ".join(there) or "none"
                raise InputError(f"model.slots.{slot}: {name} has no such slot; it has {has}")

    def check_patches(self, model: ModelConfig, patches: int) -> None:
        """Raise InputError for pictures of so many patches, where the network does not take them."""

    def original(self, model: ModelConfig, weak: bool) -> Original:
        raise InputError(f"model.network: {model.network} has no original whose weights could be read")


def imported_class(key: str, name: str, base: type[Kind]) -> type[Kind]:
    """`neurons.nodes.imported_class`, with an InputError where that has a ValueError."""
    try:
        return nodes.imported_class(key, name, base)
    except ValueError as error:
        raise InputError(str(error)) from None
