"""Sound's front end against what the formula says, and VGGish's published parameters."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from snn_cace.encoders.audio import (
    BANDS,
    CNN14_HOP,
    CNN14_POINTS,
    CNN14_RATE,
    HOP,
    LOG_OFFSET,
    POINTS,
    RATE,
    VGGISH_CHANNELS,
    WINDOW,
    Cnn14,
    VGGish,
    audio_encoder,
    log_mel,
    mel_weights,
    whitening,
)
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
    with pytest.raises(InputError, match="log-mel-statistics takes no --audio-pca"):
        audio_encoder(pca="vggish_pca_params.npz")
    with pytest.raises(InputError, match="cnn14 needs --audio-weights FILE"):
        audio_encoder("cnn14")


def test_the_spectra_are_librosa_s():
    """VGGish's magnitudes, whose triangles in mel librosa has not; CNN14's decibels, all of it."""
    librosa = pytest.importorskip("librosa")
    sound = np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    ahead = (POINTS - WINDOW) // 2  # librosa has the window in the middle of the transform
    padded = np.pad(sound, (ahead, ahead))
    spectrum = np.abs(librosa.stft(padded, n_fft=POINTS, win_length=WINDOW, hop_length=HOP, center=False)).T
    found = log_mel(torch.from_numpy(sound)[None])[0].numpy()
    np.testing.assert_allclose(found, np.log(spectrum @ mel_weights().numpy() + LOG_OFFSET)[: len(found)], atol=1e-4)

    sound = np.random.default_rng(2).standard_normal(CNN14_RATE)
    options = {"n_fft": CNN14_POINTS, "hop_length": CNN14_HOP, "n_mels": BANDS, "fmin": 50, "fmax": 14000}
    powers = librosa.feature.melspectrogram(y=sound, sr=CNN14_RATE, pad_mode="reflect", **options)
    expected = librosa.power_to_db(powers, amin=1e-10, top_db=None).T
    network = Cnn14().double()
    wave = 2 * np.pi * np.outer(np.arange(CNN14_POINTS // 2 + 1), np.arange(CNN14_POINTS)) / CNN14_POINTS
    window = librosa.filters.get_window("hann", CNN14_POINTS)
    stft = network.spectrogram_extractor["stft"]
    del options["hop_length"]
    with torch.no_grad():
        stft.conv_real.weight.copy_(torch.from_numpy(np.cos(wave) * window).unsqueeze(1))
        stft.conv_imag.weight.copy_(torch.from_numpy(-np.sin(wave) * window).unsqueeze(1))
        network.logmel_extractor["melW"].copy_(torch.from_numpy(librosa.filters.mel(sr=CNN14_RATE, **options).T))
        found = network.decibels(torch.from_numpy(sound)[None])[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def principal_components() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "pca_eigen_vectors": rng.standard_normal((VGGISH_CHANNELS, VGGISH_CHANNELS)).astype(np.float32),
        "pca_means": rng.standard_normal((VGGISH_CHANNELS, 1)).astype(np.float32),
    }


def test_whitening_is_audioset_s_and_its_published_files_load(tmp_path: Path):
    stored = principal_components()
    np.savez(tmp_path / "pca.npz", **stored)
    torch.save({name: torch.from_numpy(values) for name, values in stored.items()}, tmp_path / "pca.pth")
    embeddings = 0.1 * torch.randn(5, VGGISH_CHANNELS)
    found = whitening(tmp_path / "pca.npz")(embeddings)
    assert torch.equal(found, whitening(tmp_path / "pca.pth")(embeddings))
    components = stored["pca_eigen_vectors"] @ (embeddings.numpy().T - stored["pca_means"])
    expected = ((np.clip(components.T, -2, 2) + 2) * 255 / 4).astype(np.uint8)
    assert np.abs(found.numpy() - expected).max() <= 1, "a step, where rounding differs"
    assert (found.numpy() == expected).mean() > 0.999
    np.savez(tmp_path / "other.npz", pca_means=stored["pca_means"])
    for file in ("other.npz", "gone.npz"):
        with pytest.raises(InputError, match=f"{file}"):
            whitening(tmp_path / file)


def test_ave_s_features_are_the_rectified_embeddings_themselves():
    """So extraction whitens only where it is asked to: real ones are never negative, often zero and not in steps."""
    file = Path(__file__).parents[3] / "shared" / "ave" / "audio_feature_noisy.h5"
    if not file.is_file():
        pytest.skip("AVE's features are not beside this checkout")
    with h5py.File(file) as stored:
        values = stored["avadataset"][:]
    assert values.min() == 0 and 0.5 < (values == 0).mean() < 0.8
    assert len(np.unique(values)) > 256


def test_an_audio_model_of_transformers_is_read_from_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = transformers.ASTConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=100
    )
    model = transformers.ASTModel(config).eval()
    model.save_pretrained(tmp_path / "ast")
    transformers.ASTFeatureExtractor(max_length=100).save_pretrained(tmp_path / "ast")
    sound = 0.1 * torch.randn(2, RATE)
    encoder = audio_encoder(str(tmp_path / "ast"))
    assert (encoder.channels, encoder.sample_rate) == (12, RATE)
    prepared = transformers.ASTFeatureExtractor(max_length=100)(
        list(sound.numpy()), sampling_rate=RATE, return_tensors="pt"
    )
    with torch.no_grad():
        torch.testing.assert_close(encoder(sound), model(**prepared).last_hidden_state.mean(1))
    with pytest.raises(InputError, match="bring its directory as --audio DIRECTORY"):
        audio_encoder("no-such/model")
