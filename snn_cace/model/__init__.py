"""The network: guidance attention, temporal encoder, relation blocks, localisation head, and what joins them."""

from snn_cace.model.network import CaceNet

__all__ = ["CaceNet"]
