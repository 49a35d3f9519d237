"""CMRAN, as a config sees it; its modules are in `snn_cace.model.cmran`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cace.networks.cace import CHANNEL_SPATIAL, module_names
from snn_cace.networks.spec import NetworkSpec, Original

if TYPE_CHECKING:
    from snn_cace.config import ModelConfig


class Cmran(NetworkSpec):
    title = "CMRAN"
    modules = "snn_cace.model.cmran:CmranNet"

    def slots(self, model: ModelConfig, weak: bool) -> list[str]:
        return ["visual_projection", "feed_forward", "interaction", "event_head"]

    def original(self, model: ModelConfig, weak: bool) -> Original:
        attention = {f"spatial_channel_att.{old}": f"guidance.{new}" for old, new in CHANNEL_SPATIAL.items()}
        return Original(module_names("none") | attention, weak, {})
