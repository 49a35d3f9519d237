"""Audio encoders: a second of sound to a vector. Front ends are log-mel spectrograms of 16 kHz sound.

| encoder | per second | weights |
| --- | --- | --- |
| `log-mel-statistics` | mean and standard deviation over time of 64 bands: 128 | none |
| `vggish` | VGGish's embedding of 0.96 s (Hershey et al., ICASSP 2017): 128 | a PyTorch state dict |

The front end is VGGish's: windows of 25 ms every 10 ms (periodic Hann), magnitudes of a 512-point FFT, 64 triangular
bands, evenly spaced in HTK mel from 125 to 7500 Hz, log(x + 0.01).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from snn_cace.encoders.visual import load_weights
from snn_cace.errors import InputError

RATE = 16000
WINDOW, HOP, POINTS = 400, 160, 512
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
LOG_OFFSET = 0.01
VGGISH_FRAMES = 96


@dataclass
class AudioEncoder:
    """Sound of `sample_rate` in seconds, `[N, samples]`, to vectors `[N, channels]`."""

    encode: Callable[[torch.Tensor], torch.Tensor]
    channels: int
    sample_rate: int = RATE

    @torch.no_grad()
    def __call__(self, sound: torch.Tensor) -> torch.Tensor:
        return self.encode(sound)


def mel(frequency: torch.Tensor) -> torch.Tensor:
    """Hertz `[...]` to HTK mel."""
    return 1127 * torch.log1p(frequency / 700)


def mel_weights() -> torch.Tensor:
    """Triangles over the FFT's bins, linear in mel: `[POINTS / 2 + 1, BANDS]`."""
    bins = mel(torch.linspace(0, RATE / 2, POINTS // 2 + 1, dtype=torch.float64))
    low, high = (mel(torch.tensor(edge, dtype=torch.float64)).item() for edge in (LOWEST, HIGHEST))
    edges = torch.linspace(low, high, BANDS + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    weights = torch.minimum(rising, falling).clamp(min=0)
    weights[0] = 0
    return weights.float()


def log_mel(sound: torch.Tensor) -> torch.Tensor:
    """`[N, samples]` to `[N, frames, BANDS]`; whole windows alone."""
    frames = sound.unfold(-1, WINDOW, HOP) * torch.hann_window(WINDOW, periodic=True)
    return torch.log(torch.fft.rfft(frames, POINTS).abs() @ mel_weights() + LOG_OFFSET)


def log_mel_statistics(sound: torch.Tensor) -> torch.Tensor:
    """`[N, samples]` to `[N, 2 BANDS]`: mean over time, then standard deviation."""
    bands = log_mel(sound)
    return torch.cat([bands.mean(1), bands.std(1)], -1)


class VGGish(nn.Module):
    """The network, with the parameter names of its published PyTorch state dicts (torchvggish).

    Shape: log-mel patches `[N, 1, 96, 64]` to `[N, 128]`.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for width in (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool"):
            if isinstance(width, int):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 4 * 6, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 128), nn.ReLU()
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        # The embedding reads the map in TensorFlow's order: time, band, channel.
        return self.embeddings(self.features(patches).permute(0, 2, 3, 1).flatten(1))


def audio_encoder(name: str = "log-mel-statistics", weights: str | Path | None = None) -> AudioEncoder:
    """An encoder by name.

    Raises:
        InputError: an unknown name, or weights that are missing, not needed or do not fit.
    """
    if name == "log-mel-statistics":
        if weights is not None:
            raise InputError(f"{name} has no weights; leave out --audio_weights")
        return AudioEncoder(log_mel_statistics, 2 * BANDS)
    if name == "vggish":
        if weights is None:
            raise InputError("vggish needs --audio_weights FILE: a PyTorch state dict such as torchvggish's vggish.pth")
        network = VGGish().eval()
        load_weights(network, weights)
        return AudioEncoder(lambda sound: network(log_mel(sound)[:, :VGGISH_FRAMES].unsqueeze(1)), 128)
    raise InputError(f"no audio encoder {name}: choose log-mel-statistics or vggish")
