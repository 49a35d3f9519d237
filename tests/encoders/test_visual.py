"""Feature maps whatever the order of a network's axes, and one line where it gives none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

import timm

from snn_cace.encoders.visual import FeatureMap, VisualEncoder, visual_encoder
from snn_cace.errors import InputError


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("test_resnet", "NCHW"),
        ("test_convnext", "NCHW"),
        ("test_mambaout", "NHWC"),
        ("swin_tiny_patch4_window7_224", "NHWC"),
    ],
)
def test_a_network_of_timm_s_gives_its_channels_whatever_the_order_of_its_axes(name: str, axes: str, tmp_path: Path):
    network = timm.create_model(name, num_classes=0, global_pool="").eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    encoder = visual_encoder(name, tmp_path / "weights.pth")
    assert encoder.channels == network.num_features
    picture = torch.randint(256, (1, *encoder.size, 3), dtype=torch.uint8)
    mean, std = torch.tensor(encoder.mean), torch.tensor(encoder.std)
    with torch.no_grad():
        maps = network.forward_features(((picture / 255 - mean) / std).permute(0, 3, 1, 2))
    over_patches = maps.mean((2, 3) if axes == "NCHW" else (1, 2))
    torch.testing.assert_close(encoder.maps(picture).mean((2, 3)), over_patches)


class Axes(nn.Module):
    """Maps of two channels, four high and three wide, with its axes in any order."""

    num_features = 2

    def __init__(self, order: tuple[int, ...], said: str | None) -> None:
        super().__init__()
        self.order, self.scale = order, nn.Parameter(torch.ones(()))
        if said:
            self.output_fmt = said

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.arange(24.0).reshape(1, 2, 4, 3).permute(self.order)


@pytest.mark.parametrize(("order", "said"), [((0, 1, 2, 3), None), ((0, 1, 2, 3), "NCHW"), ((0, 2, 3, 1), "NHWC")])
def test_the_network_says_the_order(order: tuple[int, ...], said: str | None):
    maps = FeatureMap(Axes(order, said), "features")(torch.zeros(1, 3, 8, 6))
    torch.testing.assert_close(maps, torch.arange(24.0).reshape(1, 2, 4, 3))


@pytest.mark.parametrize(("order", "said"), [((0, 2, 3, 1), None), ((0, 1, 2, 3), "NHWC"), ((0, 2, 3, 1), "NLC")])
def test_an_order_that_does_not_fit_is_refused(order: tuple[int, ...], said: str | None):
    encoder = VisualEncoder(FeatureMap(Axes(order, said), "features"), (8, 6), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(InputError, match=r"the visual encoder gives \[1, "):
        _ = encoder.channels


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("test_vit", r"gives \[1, 101, 64\], not a feature map \[N, C, H, W\]; choose one with maps"),
        ("coat_lite_tiny", r"coat_lite_tiny cannot be made without its head"),
    ],
)
def test_tokens_are_refused(name: str, said: str, tmp_path: Path):
    torch.save(timm.create_model(name).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=said):
        _ = visual_encoder(name, tmp_path / "weights.pth").channels
