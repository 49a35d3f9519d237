"""The networks that there are: CACE-Net and its peers.

Each is two files of one name: here what a config may ask of it, which needs no torch, and in `snn_cace.model` its
modules. A config may also name a `NetworkSpec` from elsewhere, as `package.module:Class`.
"""

from __future__ import annotations

from snn_cace.errors import InputError
from snn_cace.networks.avel import Avel
from snn_cace.networks.cace import Cace
from snn_cace.networks.cmbs import Cmbs
from snn_cace.networks.cmran import Cmran
from snn_cace.networks.spec import NetworkSpec, imported_class

__all__ = ["NETWORKS", "NetworkSpec", "find_network", "title_of"]

NETWORKS: dict[str, NetworkSpec] = {"cace": Cace(), "avel": Avel(), "cmran": Cmran(), "cmbs": Cmbs()}


def find_network(name: str) -> NetworkSpec:
    """The network that `model.network` names.

    Raises:
        InputError: there is none of this name, or what is imported by it is none.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if ":" not in name:
        raise InputError(f"model.network: no network '{name}'; give {', '.join(NETWORKS)}, or package.module:Class")
    return imported_class("model.network", name, NetworkSpec)()


def title_of(name: str) -> str:
    """What pages call a network; one from elsewhere goes by its class: it need not be there to be imported."""
    return NETWORKS[name].title if name in NETWORKS else name.rpartition(":")[2]
