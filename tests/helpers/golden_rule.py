"""The filling rule of the golden reference tensors: weights, inputs and noise from names and shapes alone."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from snn_cace.config import ModelConfig
from snn_cace.contracts import FeatureShape
from snn_cace.model import CaceNet
from snn_cace.networks.cace import module_names
from snn_cace.training.checkpoints import load_state
from snn_cace.training.released import rename

GOLDEN = Path(__file__).parent.parent / "golden"
GUIDANCE = {"None": "none", "Audio-Guide": "audio", "Visual-Guide": "visual", "Co-Guide": "co"}
BACKGROUND = 28


def golden(name: str) -> np.lib.npyio.NpzFile:
    return np.load(GOLDEN / f"{name}.npz")


def normal(name: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


def fill(name: str, shape: list[int]) -> np.ndarray:
    """The value of a state-dict entry: weights by fan-in, norms near 1, biases near 0."""
    z = normal(name, *shape)
    if len(shape) > 1:
        return z / np.sqrt(np.prod(shape[1:]))
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(z)
    return 0.02 * z + (1 if name.endswith("weight") else 0)


def reference_state(case: str) -> dict[str, torch.Tensor]:
    """The filled state dict of a case of upstream_state_dict.json, under the original's names."""
    constructed = {"threshold": 0.5, "alpha": 2.0, "num_batches_tracked": 0}
    entries = json.loads((GOLDEN / "upstream_state_dict.json").read_text())[case]
    return {
        key: torch.from_numpy(fill(key, entry["shape"]))
        if entry["shape"]
        else torch.tensor(constructed[key.rsplit(".", 1)[-1]], dtype=getattr(torch, entry["dtype"]))
        for key, entry in entries.items()
    }


def peer_state(case: str) -> dict[str, torch.Tensor]:
    """The filled state dict of a case of peers/state_dicts.json, under the original's names."""
    entries = json.loads((GOLDEN / "peers" / "state_dicts.json").read_text())[case]["entries"]
    return {name: torch.from_numpy(fill(name, shape)) for name, shape in entries.items()}


def one_hot(classes: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.eye(BACKGROUND + 1)[classes])


def features(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(0.5 * np.maximum(normal(f"input/{name}", *shape), 0))


def golden_labels() -> torch.Tensor:
    """Clip 0: class 5 in segments 3 to 7; clip 1: class 12 throughout. `[2, 10, 29]`."""
    classes = np.full((2, 10), BACKGROUND)
    classes[0, 3:8] = 5
    classes[1] = 12
    return one_hot(classes)


def golden_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return features("visual", 2, 10, 7, 7, 512), features("audio", 2, 10, 128)


def contrastive_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """query, key `[4, 10, 256]` of unit length and is_event `[4, 10]`: five events, ten, one, none."""
    base = normal("contrastive/base", 4, 1, 256)
    views = [torch.from_numpy(np.maximum(base + 0.7 * normal(f"contrastive/{v}", 4, 10, 256), 0)) for v in "qk"]
    query, key = (v / v.norm(dim=2, keepdim=True) for v in views)
    is_event = torch.zeros(4, 10, dtype=torch.float64)
    is_event[0, 2:7] = is_event[1] = is_event[2, 4] = 1
    return query, key, is_event


def cotangent(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(normal(f"cotangent/{name}", *shape))


def reference_network(case: str, enhance: bool, contrast: bool = True) -> CaceNet:
    """Our network with the golden weights of `case` (`ann/<guide>` or `snn/Co-Guide`), float64, evaluation mode."""
    kind, guide = case.split("/")
    config = ModelConfig(guidance=GUIDANCE[guide])
    config.contrast.enabled = contrast
    if kind == "snn":
        config.slots.temporal_encoder = {"block": "braincog", "surrogate": "quadratic_gate"}
    network = CaceNet(config, FeatureShape(512, 128, 28))
    state = rename(reference_state(case), module_names(GUIDANCE[guide]))[0]
    load_state(network, {**state, "_extra_state": {"enhance": enhance}}, Path(case))
    noise = torch.from_numpy(normal("augmentation_noise", 10, 2, 256)).transpose(0, 1)
    network.head.draw_noise = lambda fused: noise.to(fused)
    return network.eval()
