"""Spiking building blocks over SpikingJelly: nodes from checked numbers, surrogates, codings, readouts, norms, blocks.

Depends on torch and SpikingJelly, and on Numba or Triton for its fused kernels. Every block starts each call from rest
and keeps no membrane after it, so no state leaks from one batch into the next and nobody has to call a reset.
"""

from neurons.activity import ActivityMonitor, LayerActivity, RateMeter, RateRegulariser, scale_surrogates
from neurons.attention import SpikingCrossAttention
from neurons.blocks import (
    BlockConfig,
    SpikeLinear,
    SpikingLinear,
    SpikingMLP,
    SpikingProjection,
)
from neurons.braincog import BrainCogEncoder
from neurons.coding import CODINGS
from neurons.dense import Linear, keep_choices, linear, processor
from neurons.layer import DIRECTIONS, SpikingLayer, listened, run_layers
from neurons.nodes import NODES, NodeConfig, make_node
from neurons.norm import NORMS, fold
from neurons.readout import READOUTS, Readout
from neurons.recording import LayerRecord, SpikeRecorder, Trace, trace_layers
from neurons.surrogate import SURROGATES, QuadraticGate, make_surrogate

__all__ = [
    "CODINGS",
    "DIRECTIONS",
    "NODES",
    "NORMS",
    "READOUTS",
    "SURROGATES",
    "ActivityMonitor",
    "BlockConfig",
    "BrainCogEncoder",
    "LayerActivity",
    "LayerRecord",
    "Linear",
    "NodeConfig",
    "QuadraticGate",
    "RateMeter",
    "RateRegulariser",
    "Readout",
    "SpikeLinear",
    "SpikeRecorder",
    "SpikingCrossAttention",
    "SpikingLayer",
    "SpikingLinear",
    "SpikingMLP",
    "SpikingProjection",
    "Trace",
    "fold",
    "keep_choices",
    "linear",
    "listened",
    "make_node",
    "make_surrogate",
    "processor",
    "run_layers",
    "scale_surrogates",
    "trace_layers",
]
