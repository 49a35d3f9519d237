"""Audio encoders: a second of sound to a vector, by way of a log-mel spectrogram.

| encoder | per second | weights |
| --- | --- | --- |
| `log-mel-statistics` | mean and standard deviation over time of 64 bands: 128 | none |
| `vggish` | VGGish's embedding of 0.96 s (Hershey et al., ICASSP 2017): 128 | a PyTorch state dict |
| `cnn14` | CNN14's embedding (PANNs: Kong et al., TASLP 28, 2020): 2048 | the authors' `Cnn14_mAP=0.431.pth` |
| any other name | the mean over time of an audio model's states | transformers', from the hub's cache or a directory |

The front end of the first two is VGGish's, of 16 kHz sound: windows of 25 ms every 10 ms (periodic Hann), magnitudes
of a 512-point FFT, 64 triangular bands, evenly spaced in HTK mel from 125 to 7500 Hz, log(x + 0.01). CNN14's is in
its state dict, for 32 kHz: windows of 1024 samples every 320 (periodic Hann, reflected at the ends), powers, 64
Slaney bands from 50 to 14000 Hz, decibels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from snn_cace.encoders.visual import load_weights
from snn_cace.errors import InputError, one_line

RATE = 16000
WINDOW, HOP, POINTS = 400, 160, 512
BANDS, LOWEST, HIGHEST = 64, 125.0, 7500.0
LOG_OFFSET = 0.01
VGGISH_FRAMES, VGGISH_CHANNELS, CLIPPED = 96, 128, 2.0
WEIGHTS = {
    "vggish": "a PyTorch state dict such as torchvggish's vggish.pth",
    "cnn14": "the authors' Cnn14_mAP=0.431.pth",
}
"""What an encoder that needs a file of weights takes."""
CNN14_RATE, CNN14_POINTS, CNN14_HOP = 32000, 1024, 320


@dataclass
class AudioEncoder:
    """Sound of `sample_rate` in seconds, `[N, samples]`, to vectors `[N, channels]`, by a network if there is one."""

    encode: Callable[[torch.Tensor], torch.Tensor]
    channels: int
    sample_rate: int = RATE
    network: nn.Module | None = None

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
        for widths in ((1, 64), (64, 128), (128, 256, 256), (256, 512, 512)):
            for inputs, outputs in pairwise(widths):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 4 * 6, 4096),
            nn.ReLU(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, VGGISH_CHANNELS),
            nn.ReLU(),
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        # The embedding reads the map in TensorFlow's order: time, band, channel.
        return self.embeddings(self.features(patches).permute(0, 2, 3, 1).flatten(1))


class Stft(nn.Module):
    """Powers of windowed sound `[N, samples]`, as torchlibrosa has them, by convolution: `[N, frames, 513]`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_real = nn.Conv1d(1, CNN14_POINTS // 2 + 1, CNN14_POINTS, CNN14_HOP, bias=False)
        self.conv_imag = nn.Conv1d(1, CNN14_POINTS // 2 + 1, CNN14_POINTS, CNN14_HOP, bias=False)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        padded = F.pad(sound.unsqueeze(1), (CNN14_POINTS // 2,) * 2, mode="reflect")
        return (self.conv_real(padded).square() + self.conv_imag(padded).square()).transpose(1, 2)


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions with norms, rectified: `[N, C, T, B]` to as many channels as it outputs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps))))))


class Cnn14(nn.Module):
    """The network, with the parameter names of the authors' state dict, its classifier included.

    Shape: sound of 32 kHz `[N, samples]` to embeddings `[N, 2048]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram_extractor = nn.ModuleDict({"stft": Stft()})
        self.logmel_extractor = nn.ParameterDict({"melW": nn.Parameter(torch.zeros(CNN14_POINTS // 2 + 1, BANDS))})
        self.bn0 = nn.BatchNorm2d(BANDS)
        for number, (inputs, outputs) in enumerate(pairwise((1, 64, 128, 256, 512, 1024, 2048)), start=1):
            self.add_module(f"conv_block{number}", ConvBlock(inputs, outputs))
        self.fc1 = nn.Linear(2048, 2048)
        self.fc_audioset = nn.Linear(2048, 527)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        maps = self.bn0(self.decibels(sound).unsqueeze(1).transpose(1, 3)).transpose(1, 3)
        for number in range(1, 6):
            maps = F.avg_pool2d(self.get_submodule(f"conv_block{number}")(maps), 2)
        over_bands = self.get_submodule("conv_block6")(maps).mean(3)
        return F.relu(self.fc1(over_bands.amax(2) + over_bands.mean(2)))

    def decibels(self, sound: torch.Tensor) -> torch.Tensor:
        """The log-mel spectrogram, `[N, frames, BANDS]`."""
        bands = self.spectrogram_extractor["stft"](sound) @ self.logmel_extractor["melW"]
        return 10 * torch.log10(bands.clamp(min=1e-10))


class Whitening(nn.Module):
    """AudioSet's postprocessing of VGGish's embeddings: principal components, in 256 steps from -2 to 2, as 0 to 255.

    Shape: `[N, 128]` to `[N, 128]`. AVE's released features are the embeddings without it.
    """

    vectors: torch.Tensor
    means: torch.Tensor

    def __init__(self, vectors: torch.Tensor, means: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors.float())
        self.register_buffer("means", means.float().flatten())

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        components = (embeddings - self.means) @ self.vectors.T
        return ((components.clamp(-CLIPPED, CLIPPED) + CLIPPED) * (255 / (2 * CLIPPED))).floor()


def whitening(file: str | Path) -> Whitening:
    """From AudioSet's vggish_pca_params.npz, or the same as a PyTorch state dict.

    Raises:
        InputError: no such file, or other contents.
    """
    if not Path(file).is_file():
        raise InputError(f"no file of principal components {file}")
    try:
        if Path(file).suffix == ".npz":
            with np.load(file, allow_pickle=False) as stored:
                state = {name: torch.from_numpy(stored[name]) for name in stored.files}
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        vectors, means = state["pca_eigen_vectors"], state["pca_means"]
        if vectors.shape != (VGGISH_CHANNELS, VGGISH_CHANNELS) or means.numel() != VGGISH_CHANNELS:
            raise ValueError(f"pca_eigen_vectors is {list(vectors.shape)}, not [128, 128], or pca_means not of 128")
    except Exception as error:  # damaged files come as many errors
        raise InputError(
            f"{file} holds no principal components of VGGish's: {one_line(error)[:120]}; bring vggish_pca_params.npz"
        ) from None
    return Whitening(vectors, means)


def transformers_encoder(name: str) -> AudioEncoder:
    """An audio model of transformers', by its name on the hub or a directory: the mean over time of its last hidden
    states, or what the model itself calls the features of a sound.
    """
    try:
        from transformers import AutoFeatureExtractor, AutoModel
    except ImportError:
        raise InputError(f"audio encoder {name} needs transformers: install snn-cace[transformers]") from None
    try:
        prepare, model = AutoFeatureExtractor.from_pretrained(name), AutoModel.from_pretrained(name).eval()
        rate = int(prepare.sampling_rate)
    except Exception as error:  # the hub raises whatever its transport does
        raise InputError(
            f"no audio encoder {name}: neither log-mel-statistics, {', '.join(WEIGHTS)} nor an audio model of "
            f"transformers' in the hub's cache ({one_line(error)[:120]}); bring its directory as --audio DIRECTORY"
        ) from None
    network = model.get_encoder() if model.config.is_encoder_decoder else model

    def encode(sound: torch.Tensor) -> torch.Tensor:
        given = prepare(list(sound.numpy()), sampling_rate=rate, return_tensors="pt")
        if hasattr(model, "get_audio_features"):
            found = model.get_audio_features(**given)
            return found if isinstance(found, torch.Tensor) else found.pooler_output
        return network(**given).last_hidden_state.mean(1)

    with torch.no_grad():
        channels = encode(torch.zeros(1, rate)).shape[-1]
    return AudioEncoder(encode, channels, rate, model)


def audio_encoder(
    name: str = "log-mel-statistics", weights: str | Path | None = None, pca: str | Path | None = None
) -> AudioEncoder:
    """An encoder by name. pca: file of principal components by which VGGish's embeddings are whitened.

    Raises:
        InputError: an unknown name, a missing package, or weights that are missing, not needed or do not fit.
    """
    if pca is not None and name != "vggish":
        raise InputError(f"{name} takes no --audio-pca, which is VGGish's")
    if weights is None and name in WEIGHTS:
        raise InputError(f"{name} needs --audio-weights FILE: {WEIGHTS[name]}")
    if weights is not None and name not in WEIGHTS:
        raise InputError(f"{name} takes no --audio-weights")
    if name == "log-mel-statistics":
        return AudioEncoder(log_mel_statistics, 2 * BANDS)
    if weights is None:
        return transformers_encoder(name)
    if name == "cnn14":
        panns = load_weights(Cnn14().eval(), weights)
        return AudioEncoder(panns, 2048, CNN14_RATE, panns)
    embedding = load_weights(VGGish().eval(), weights)
    network = nn.Sequential(embedding, nn.Identity() if pca is None else whitening(pca))
    return AudioEncoder(
        lambda sound: network(log_mel(sound)[:, :VGGISH_FRAMES].unsqueeze(1)), VGGISH_CHANNELS, network=network
    )
