"""Spiking building blocks over SpikingJelly: nodes from checked numbers, surrogates, codings, readouts, norms, blocks.

Depends on torch and SpikingJelly, and on Numba or Triton for its fused kernels. Every block starts each call from rest
and keeps no membrane after it, so no state leaks from one batch into the next and nobody has to call a reset.
"""

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
from neurons.kernels.dispatch import eager, why_eager
from neurons.kernels.dropout import Dropout, rectified_dropout
from neurons.kernels.linear import Linear, keep_choices, linear, processor, project
from neurons.kernels.residual import residual_norm
from neurons.layer import DIRECTIONS, SpikingLayer, run_layers
from neurons.nodes import NODES, NodeConfig, NodeState, make_node, step
from neurons.norm import NORMS, fold
from neurons.readout import READOUTS, Readout
from neurons.recording import (
    LayerActivity,
    LayerRecord,
    RateMonitor,
    RateRegulariser,
    SpikeRecorder,
    Trace,
    scale_surrogates,
    trace_layers,
    unhealthy_shares,
)
from neurons.surrogate import SURROGATES, QuadraticGate, make_surrogate

__all__ = [
    "CODINGS",
    "DIRECTIONS",
    "NODES",
    "NORMS",
    "READOUTS",
    "SURROGATES",
    "BlockConfig",
    "BrainCogEncoder",
    "Dropout",
    "LayerActivity",
    "LayerRecord",
    "Linear",
    "NodeConfig",
    "NodeState",
    "QuadraticGate",
    "RateMonitor",
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
    "eager",
    "fold",
    "keep_choices",
    "linear",
    "make_node",
    "make_surrogate",
    "processor",
    "project",
    "rectified_dropout",
    "residual_norm",
    "run_layers",
    "scale_surrogates",
    "step",
    "trace_layers",
    "unhealthy_shares",
    "why_eager",
]
