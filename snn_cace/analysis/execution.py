"""A trained network run event-driven on real clips, beside the normal run and the count."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from snn_cace.counting.execution import run_event_driven
from snn_cace.counting.operations import count_operations
from snn_cace.data.batches import ClipDataset, without_padding
from snn_cace.model import Network

EXECUTED_CLIPS = 4
COMPARED = ("segment_relevance", "event_logits", "gate", "av_logits", "segment_logits", "clip_logits")


@dataclass
class Execution:
    """`clips` clips: additions that spikes caused, by module, beside what the count says; and how far any output was
    from the normal run's, as a share of the largest.
    """

    clips: int
    additions: dict[str, int]
    counted: dict[str, int]
    largest_difference: float


@torch.no_grad()
def execute(network: Network, dataset: ClipDataset) -> Execution:
    """The first clips of a split; the network is left on the CPU, in evaluation mode."""
    clips = without_padding(dataset.__getitems__(range(min(EXECUTED_CLIPS, len(dataset)))))
    visual, audio = clips["visual"], clips["audio"]
    network = network.to("cpu", visual.dtype).eval()
    seed = torch.random.initial_seed()
    with torch.random.fork_rng(devices=[]):  # each run draws the same, where inputs are coded by chance
        torch.manual_seed(seed)
        normal = network(visual, audio)
        torch.manual_seed(seed)
        output, additions = run_event_driven(network, visual, audio)
        torch.manual_seed(seed)
        count = count_operations(network, visual, audio)
    modules = count.counted["event_driven"]
    counted = {m.name: round(m.total.synops * len(visual)) for m in modules if m.name in additions}
    differences = (
        (getattr(output, name) - getattr(normal, name)).abs().max() / getattr(normal, name).abs().max()
        for name in COMPARED
        if vars(normal).get(name) is not None
    )
    return Execution(len(visual), additions, counted, max(float(difference) for difference in differences))
