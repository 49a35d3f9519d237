from .attention import SpikingCrossAttention
from .blocks import SpikeLinear, SpikingLinear, SpikingMLP, SpikingProjection
from .collective import count_over_processes, sum_over_processes
from .config import CODINGS, CONTROLS, DIRECTIONS, KINDS, NORMS, READOUTS, BlockConfig
from .controls import ControlLayer, LearnedStep, LinearMemory, bits_for, has_memory, value_levels
from .kernels.dispatch import eager, why_eager
from .kernels.event import EventDriven
from .layer import SpikingLayer, run_layers
from .nodes import ALIF, IF, ILIF, LIF, NODES, PLIF, PSN, GatedLIF, MaskedPSN, Node, SlidingPSN, find_node
from .nodes.modules import make_node
from .nodes.node import NodeCost
from .norm import fold
from .padding import Padded, padded
from .readout import Readout
from .recording import (
    LayerActivity,
    LayerRecord,
    RateMonitor,
    RateObserver,
    RateRegulariser,
    SpikeRecorder,
    Trace,
    trace_layers,
    unhealthy_shares,
)
from .streaming import LookBack, Streamed, stream
from .surrogate import SURROGATES, QuadraticGate, make_surrogate

__all__ = [
    "ALIF",
    "CODINGS",
    "CONTROLS",
    "DIRECTIONS",
    "IF",
    "ILIF",
    "KINDS",
    "LIF",
    "NODES",
    "NORMS",
    "PLIF",
    "PSN",
    "READOUTS",
    "SURROGATES",
    "BlockConfig",
    "ControlLayer",
    "EventDriven",
    "GatedLIF",
    "LayerActivity",
    "LayerRecord",
    "LearnedStep",
    "LinearMemory",
    "LookBack",
    "MaskedPSN",
    "Node",
    "NodeCost",
    "Padded",
    "QuadraticGate",
    "RateMonitor",
    "RateObserver",
    "RateRegulariser",
    "Readout",
    "SlidingPSN",
    "SpikeLinear",
    "SpikeRecorder",
    "SpikingCrossAttention",
    "SpikingLayer",
    "SpikingLinear",
    "SpikingMLP",
    "SpikingProjection",
    "Streamed",
    "Trace",
    "bits_for",
    "count_over_processes",
    "eager",
    "find_node",
    "fold",
    "has_memory",
    "make_node",
    "make_surrogate",
    "padded",
    "run_layers",
    "stream",
    "sum_over_processes",
    "trace_layers",
    "unhealthy_shares",
    "value_levels",
    "why_eager",
]
