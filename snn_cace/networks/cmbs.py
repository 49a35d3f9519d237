"""CMBS, as a config sees it; its modules are in `snn_cace.model.cmbs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cace.networks.cace import ENHANCING, module_names
from snn_cace.networks.spec import NetworkSpec, Original

if TYPE_CHECKING:
    from snn_cace.config import ModelConfig

WEAK_NAMES = {
    # Their gates are named after the modality that they read, ours after the one that they scale: its own.
    "audio_gated.0": "visual_gate",
    "video_gated.0": "audio_gate",
    "CAS_model.classifier.0": "event",
}


class Cmbs(NetworkSpec):
    title = "CMBS"
    labels = ("single", "multi-label")
    modules = "snn_cace.model.cmbs:CmbsNet"
    weak_modules = "snn_cace.model.cmbs:WeakCmbsNet"

    def slots(self, model: ModelConfig, weak: bool) -> list[str]:
        return [slot for slot in vars(model.slots) if not (weak and slot == "temporal_encoder")]

    def has_fault(self, model: ModelConfig, weak: bool) -> bool:
        return weak

    def original(self, model: ModelConfig, weak: bool) -> Original:
        names = module_names("audio") | {"spatial_channel_att.norm": "guidance.visual_norm"}
        if weak:
            return Original(names | WEAK_NAMES, True, {}, last="event.weight")
        return Original(names, False, ENHANCING)
