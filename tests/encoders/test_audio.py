"""Sound's front end against what the formula says, and VGGish's published parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from snn_cace.encoders.audio import BANDS, CNN14_RATE, RATE, Cnn14, VGGish, audio_encoder, log_mel, mel_weights
from snn_cace.errors import InputError


def test_the_front_end_is_the_one_vggish_was_trained_with():
    """Independently: frame by frame in NumPy, HTK mel 125 to 7500 Hz, 512-point magnitudes, log(x + 0.01)."""
    sound = np.random.default_rng(0).standard_normal(RATE)

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges = np.linspace(mel(125), mel(7500), 66)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    expected = []
    for start in range(0, RATE - 399, 160):
        spectrum = np.abs(np.fft.rfft(sound[start : start + 400] * window, 512))
        bands = np.zeros(64)
        for k in range(1, 257):
            place = mel(k * RATE / 512)
            for band in range(64):
                left, centre, right = edges[band : band + 3]
                share = min((place - left) / (centre - left), (right - place) / (right - centre))
                bands[band] += max(0.0, share) * spectrum[k]
        expected.append(np.log(bands + 0.01))
    found = log_mel(torch.from_numpy(sound).float()[None])[0]
    np.testing.assert_allclose(found.numpy(), np.array(expected), atol=1e-4)
    assert (mel_weights() >= 0).all()


def test_statistics_are_means_and_deviations_of_the_bands():
    sound = torch.randn(3, RATE)
    bands = log_mel(sound)
    found = audio_encoder("log-mel-statistics")(sound)
    assert found.shape == (3, 2 * BANDS)
    torch.testing.assert_close(found, torch.cat([bands.mean(1), bands.std(1)], -1))


def test_vggish_has_the_published_parameters():
    """Names and shapes of torchvggish's state dict."""
    convolutions = {0: (1, 64), 3: (64, 128), 6: (128, 256), 8: (256, 256), 11: (256, 512), 13: (512, 512)}
    expected = {f"features.{k}.weight": (out, inputs, 3, 3) for k, (inputs, out) in convolutions.items()}
    expected |= {f"features.{k}.bias": (out,) for k, (_, out) in convolutions.items()}
    for k, (inputs, out) in {0: (12288, 4096), 2: (4096, 4096), 4: (4096, 128)}.items():
        expected |= {f"embeddings.{k}.weight": (out, inputs), f"embeddings.{k}.bias": (out,)}
    with torch.device("meta"):
        assert {name: tuple(value.shape) for name, value in VGGish().state_dict().items()} == expected


def panns_state() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' Cnn14_mAP=0.431.pth."""
    shapes: dict[str, tuple[int, ...]] = {
        "spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
        "spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
        "logmel_extractor.melW": (513, 64),
        "fc1.weight": (2048, 2048),
        "fc1.bias": (2048,),
        "fc_audioset.weight": (527, 2048),
        "fc_audioset.bias": (527,),
    }
    norms = {"bn0": 64}
    inputs = 1
    for number, width in enumerate((64, 128, 256, 512, 1024, 2048), start=1):
        shapes[f"conv_block{number}.conv1.weight"] = (width, inputs, 3, 3)
        shapes[f"conv_block{number}.conv2.weight"] = (width, width, 3, 3)
        norms |= {f"conv_block{number}.bn1": width, f"conv_block{number}.bn2": width}
        inputs = width
    for name, width in norms.items():
        shapes |= {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{name}.num_batches_tracked"] = ()
    return shapes


def test_cnn14_has_the_published_parameters_and_embeds_a_second():
    with torch.device("meta"):
        assert {name: tuple(value.shape) for name, value in Cnn14().state_dict().items()} == panns_state()
    with torch.no_grad():
        assert Cnn14().eval()(torch.randn(2, CNN14_RATE)).shape == (2, 2048)


def test_weights_are_asked_for_where_they_are_needed(tmp_path):
    with pytest.raises(InputError, match="vggish needs --audio-weights FILE"):
        audio_encoder("vggish")
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"features.0.bias should be \[64\]"):
        audio_encoder("vggish", tmp_path / "part.pth")
    with pytest.raises(InputError, match="no audio encoder cnn"):
        audio_encoder("cnn")
