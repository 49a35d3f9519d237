"""Spiking building blocks over SpikingJelly: nodes from checked numbers, surrogates, and linear blocks that spike.

Depends on torch and SpikingJelly only. Every block starts each call from rest and keeps no membrane after it, so no
state leaks from one batch into the next and nobody has to call a reset.
"""

from neurons.blocks import BidirectionalSpikingLinear, SpikeReadout, SpikingLinear, SpikingMLP
from neurons.braincog import BrainCogEncoder
from neurons.layer import NodeConfig, SpikingLayer, make_node
from neurons.surrogate import SURROGATES, QuadraticGate, make_surrogate

__all__ = [
    "SURROGATES",
    "BidirectionalSpikingLinear",
    "BrainCogEncoder",
    "NodeConfig",
    "QuadraticGate",
    "SpikeReadout",
    "SpikingLayer",
    "SpikingLinear",
    "SpikingMLP",
    "make_node",
    "make_surrogate",
]
