"""AVEL, as a config sees it; its modules are in `snn_cace.model.avel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from snn_cace.errors import InputError
from snn_cace.networks.spec import NetworkSpec, Original
from snn_cace.restricted import PositiveInt

if TYPE_CHECKING:
    from snn_cace.config import ModelConfig

NAMES = {
    "lstm_audio": "audio_temporal.lstm",
    "lstm_video": "visual_temporal.lstm",
    "affine_video": "attention.patch",
    "affine_audio": "attention.guide",
    "affine_v": "attention.patch_units",
    "affine_g": "attention.guide_units",
    "affine_h": "attention.score",
    "L1": "classifier.linear1",
    "L2": "classifier.linear2",
}
DMRN_NAMES = NAMES | {"U_v": "fusion.visual", "U_a": "fusion.audio", "L2": "classifier"}


@dataclass
class AvelConfig:
    """What AVEL alone has (Tian et al., ECCV 2018).

    Args:
        inputs: what is classified: `audio`, `visual` or `both`; `model.guidance: audio` attends to pictures by the
            sound in any case.
        fusion: of both: `concatenation` and a hidden layer, or `residual`, the dual multimodal residual network (DMRN).
        units: of the attention, over which its tanh is summed.
        hidden: width of the classifier's hidden layer.
    """

    inputs: Literal["audio", "visual", "both"] = "both"
    fusion: Literal["concatenation", "residual"] = "concatenation"
    units: PositiveInt = 49
    hidden: PositiveInt = 64


class Avel(NetworkSpec):
    title = "AVEL"
    modules = "snn_cace.model.avel:AvelNet"
    causal = ("full", "weak")

    def slots(self, model: ModelConfig, weak: bool) -> list[str]:
        return ["temporal_encoder"] + ["feed_forward"] * (model.avel.fusion == "concatenation")

    def has_fault(self, model: ModelConfig, weak: bool) -> bool:
        return model.guidance == "audio"

    def variant(self, model: ModelConfig) -> tuple[str, ...]:
        return model.avel.inputs, model.avel.fusion

    def check_config(self, model: ModelConfig, supervision: str) -> None:
        super().check_config(model, supervision)
        inputs = model.avel.inputs
        if inputs == "audio" and model.guidance != "none":
            reason = "audio attends to pictures, model.avel.inputs: audio has none"
            raise InputError(f"model.guidance: {reason}; set it to none")
        if model.avel.fusion == "residual" and inputs != "both":
            raise InputError(f"model.avel.fusion: residual joins both modalities, not {inputs} alone")

    def check_patches(self, model: ModelConfig, patches: int) -> None:
        """The original's attention has a unit per patch."""
        if model.reference and model.avel.units != patches:
            raise InputError(f"model.avel.units ({model.avel.units}): model.reference needs one per patch, {patches}")

    def original(self, model: ModelConfig, weak: bool) -> Original:
        residual = model.avel.fusion == "residual"
        names, last = (DMRN_NAMES, "classifier.weight") if residual else (NAMES, "classifier.linear2.weight")
        return Original(names, True, {}, "attention.patch.weight", last)
