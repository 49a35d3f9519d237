"""The networks: CACE-Net and its peers, each a file, and the blocks that they are built from."""

from snn_cace.model.cace import CaceNet
from snn_cace.model.network import Network, build_network

__all__ = ["CaceNet", "Network", "build_network"]
