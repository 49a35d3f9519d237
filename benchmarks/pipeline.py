"""What CACE-Net is of the whole pipeline on AVE: its multiply-accumulates beside those of the encoders of its features.

.venv/bin/python benchmarks/pipeline.py

Features of AVE are VGG-19's last feature map of pictures and VGGish's embedding of each second. Encoders are counted by
PyTorch's own counter, without weights; CACE-Net by ours. Energy is by arithmetic alone (4.6 pJ a MAC).
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import vgg19

from snn_cace.config import Experiment, read_config
from snn_cace.contracts import FeatureShape
from snn_cace.counting.energy import energy, read_prices
from snn_cace.counting.operations import count_operations
from snn_cace.encoders.audio import VGGISH_FRAMES, VGGish
from snn_cace.model import build_network

SEGMENTS, SHAPE = 10, FeatureShape(512, 128, 28)


def macs(network: torch.nn.Module, *inputs: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta").eval()(torch.empty(1, *inputs, device="meta"))
    return counter.get_total_flops() / 2


if __name__ == "__main__":
    picture = macs(vgg19(weights=None).features, 3, 224, 224)
    sound = SEGMENTS * macs(VGGish(), 1, VGGISH_FRAMES, 64)
    network = build_network(read_config("configs/ave/ann.yaml", Experiment), SHAPE).eval()
    count = count_operations(network, torch.rand(1, SEGMENTS, 7, 7, 512), torch.rand(1, SEGMENTS, 128))
    prices = read_prices()
    head = energy(count.counted["conservative"], "compute", prices).millijoules
    per_mac = prices["compute"].mac.picojoules * 1e-9
    print("| pictures a clip | VGG-19, G MACs | VGGish, G MACs | encoders, mJ | CACE-Net, mJ | its share, % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for pictures in (SEGMENTS, 16 * SEGMENTS):
        seen = pictures * picture
        spent = (seen + sound) * per_mac
        cells = (seen / 1e9, sound / 1e9, spent, head, 100 * head / (spent + head))
        print(f"| {pictures} | {' | '.join(f'{cell:.3g}' for cell in cells)} |")
