"""What an audit costs beside a forward pass, in eager mode, on this machine.

.venv/bin/python benchmarks/counting.py

Processor time of all threads, so that others on the machine do not matter; medians of five turns after one to warm up,
forward pass and audit in turns. Networks have their initial weights; pictures are random.
"""

from __future__ import annotations

from statistics import median
from time import process_time

import torch
import torchvision
from spikingjelly.activation_based import functional, neuron
from spikingjelly.activation_based.model import sew_resnet

from snn_cace import counting

TURNS = 5


def sew() -> torch.nn.Module:
    network = sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=neuron.IFNode)
    functional.set_step_mode(network, "m")
    return network


NETWORKS = {
    "ResNet-18, two pictures of 224 x 224": (torchvision.models.resnet18, (2, 3, 224, 224), 0),
    "ViT-B/16, one picture of 224 x 224": (torchvision.models.vit_b_16, (1, 3, 224, 224), 0),
    "SEW-ResNet-18, four steps of 224 x 224": (sew, (4, 1, 3, 224, 224), 1),
}

if __name__ == "__main__":
    print("| network | forward pass, s | audit, s | audit over forward pass |")
    print("| --- | --- | --- | --- |")
    for name, (build, shape, batch_dim) in NETWORKS.items():
        network, pictures, times = build().eval(), torch.rand(*shape), []
        for _ in range(TURNS + 1):
            functional.reset_net(network)
            start = process_time()
            with torch.no_grad():
                network(pictures)
            ran = process_time()
            counting.audit(network, pictures, batch_dim=batch_dim)
            times.append((ran - start, process_time() - ran))
        forward, audited = (median(column) for column in zip(*times[1:], strict=True))
        print(f"| {name} | {forward:.2f} | {audited:.2f} | {audited / forward:.1f} |")
