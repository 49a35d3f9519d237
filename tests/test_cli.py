"""The command line as a user meets it: bad input is one line and exit code 2, golden weights give golden outputs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_rule import golden, golden_inputs, golden_labels, peer_state, reference_state
from small import small_experiment, write_ave

from snn_cace.cli import VERBS, main
from snn_cace.commands import make_parser
from snn_cace.commands import run as run_verb
from snn_cace.config import Experiment, as_yaml
from snn_cace.contracts import FeatureShape
from snn_cace.errors import explained
from snn_cace.model import build_network
from snn_cace.processes import ignore_foreign_ranks
from snn_cace.training.run import train

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on small data that lies beside it."""
    root = tmp_path_factory.mktemp("run")
    write_ave(root / "ave")
    train(small_experiment(root / "ave", epochs=1), root / "run", quiet=True)
    return root / "run"


def fails(capsys: pytest.CaptureFixture, *words: str) -> str:
    """Run the command line, which must exit 2 with exactly one line on standard error."""
    assert main(list(words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]


def write_config(directory: Path, **changes: object) -> Path:
    experiment = small_experiment(write_ave(directory / "ave"), epochs=1)
    for key, value in changes.items():
        setattr(experiment.training, key, value)
    path = directory / "config.yaml"
    path.write_text(as_yaml(experiment))
    return path


def test_help_lists_the_verbs_without_importing_torch():
    code = "import sys; from snn_cace.cli import main; main(['--help']); print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "import-reference" in printed
    assert printed.strip().endswith("False")


def test_a_reader_that_leaves_ends_the_command_without_a_word():
    code = "import time\nfrom snn_cace.cli import main\ntime.sleep(0.5)\nraise SystemExit(main(['--help']))"
    command = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert command.stdout is not None
    command.stdout.close()
    assert (command.wait(), command.stderr.read() if command.stderr else None) == (141, b"")


def test_figures_are_drawn_whatever_backend_a_notebook_asks_for(tmp_path: Path):
    code = "import sys; from snn_cace import cli; sys.argv = ['snn-cace', '--version']; cli.main(); import matplotlib"
    backend = os.environ | {"MPLBACKEND": "module://not_installed_here"}
    subprocess.run([sys.executable, "-c", code], env=backend, check=True)


@pytest.mark.parametrize("output", ["a::b", "memory://run", "s3://bucket/run"])
def test_an_output_that_reads_as_a_remote_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, output: str
):
    config = write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    line = fails(capsys, "train", "--config", str(config), "--output", output)
    assert f"{output}: an output directory is a path on this machine" in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["data.directory"])
def test_an_empty_path_is_refused_by_its_key(tmp_path: Path, capsys: pytest.CaptureFixture, name: str):
    config = write_config(tmp_path)
    line = fails(capsys, "train", "--config", str(config), "--output", str(tmp_path / "out"), f"--{name}", "")
    assert f"{name} is empty; give it a value, or leave it out" in line
    assert not (tmp_path / "out").exists()


def test_an_option_is_put_over_the_config_wherever_it_stands(tmp_path: Path):
    found = []

    def collect(experiment: Experiment, quiet: bool = False) -> None:
        found.append((experiment.training.seed, experiment.training.epochs, quiet))

    (tmp_path / "a.yaml").write_text("training: {seed: 1, epochs: 7}")
    run_verb("collect", collect, ["--training.seed", "3", "--config", str(tmp_path / "a.yaml"), "--quiet"])
    assert found == [(3, 7, True)]


def test_ranks_that_are_no_numbers_are_nobody_s(monkeypatch: pytest.MonkeyPatch):
    for name, value in (("RANK", ""), ("LOCAL_RANK", "x"), ("SLURM_PROCID", "3")):
        monkeypatch.setenv(name, value)
    ignore_foreign_ranks()
    assert "RANK" not in os.environ and "LOCAL_RANK" not in os.environ and os.environ["SLURM_PROCID"] == "3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("experiments: [a.yaml]\ncommon: {training.seed: 5}", "common: training.seed is each of `seeds` in turn"),
        ("experiments: [a.yaml]\ntuning: {ranges: {training: {seed: [1, 2]}}}", "training.seed is each of `seeds`"),
        ("experiments: [a.yaml]\nvary: {training.seed: [1, 2]}", "vary: training.seed is each of `seeds`"),
        ("experiments: [a.yaml]\nrows: [{name: 3, model.psi: 1}]", "row 1: name 3 is no text"),
        ("experiments: [a.yaml]", "an experiment cannot be called 'report.html'"),
    ],
)
def test_studies_that_would_say_something_else_than_they_ran_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, content: str, message: str
):
    (tmp_path / "a.yaml").write_text("name: report.html\n")
    (tmp_path / "study.yaml").write_text(f"name: s\n{content}\n")
    line = fails(capsys, "compare", "--config", str(tmp_path / "study.yaml"), "--output", str(tmp_path / "out"))
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_cache_that_cannot_be_written_is_told_with_the_variable_that_moves_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SNN_CACE_CACHE", "/somewhere/cache")
    denied = PermissionError(errno.EACCES, "Permission denied", "/somewhere")
    assert explained(denied) == "/somewhere: permission denied; set SNN_CACE_CACHE to a directory that can be written"
    file = FileExistsError(errno.EEXIST, "File exists", "/somewhere/cache")
    assert "file exists; set SNN_CACE_CACHE to" in str(explained(file))
    assert explained(OSError(errno.EROFS, "Read-only file system", "/data/f")) == "/data/f: read-only file system"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_of_two_screens_at_most_and_explains_every_option(verb: str, capsys: pytest.CaptureFixture):
    assert main([*verb.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 100
    assert main([*verb.split(), "--help.full"]) == 0
    assert len(capsys.readouterr().out) >= len(text)
    module, _, name = VERBS[verb][0].partition(":")
    function = getattr(import_module(f"snn_cace.commands.{module}"), name)
    for action in make_parser(verb, function)._actions:
        assert (action.help or "").strip(), action.dest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["xyz"], "unknown verb 'xyz'; choose from: init, train, evaluate"),
        (["trian"], "unknown verb 'trian'; did you mean train?"),
        (["data"], "unknown verb 'data'; choose from: data check, data labels"),
        (["train"], "the following arguments are required: output"),
        (["train", "--output", "x"], "train needs --config FILE"),
        (["train", "--output", "x", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["evaluate"], "evaluate needs --checkpoint FILE or RUN_DIRECTORY"),
        (["evaluate", "--checkpoint", "nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
        (["benchmark", "--output", "out", "--batch", "0"], "batch: must be >0, not 0"),
        (["data", "synthetic", "out", "--clips", "0"], "clips: must be >0, not 0"),
        (["compare", "--config", "missing.yaml", "--jobs", "0"], "jobs"),
        (["data", "check", "nowhere"], "nowhere has 6 problem(s), listed above"),
        (["compare", "--config", "nowhere.yaml"], "no config file nowhere.yaml"),
        (["compare", "--config", "avdigts"], "no shipped study of that name; nearest are avdigits, "),
        (["compare", "--config", "avdigits/ann"], "is one experiment; train it with snn-cace train --config"),
        (["compare", "--config", str(CONFIGS / "avdigits" / "ann.yaml")], "is one experiment; train it with"),
        (["train", "--output", "x", "--config", "avdigits"], "run it with snn-cace compare --config avdigits"),
        (
            ["train", "--output", "x", "--config", str(CONFIGS / "compare" / "games.yaml")],
            "run it with snn-cace compare",
        ),
        (["compare", "--config", "avdigits", "--seed", "1"], "unknown key seed; did you mean --seeds?"),
        (["train", "--output", "x", "--epochs", "1"], "unknown key epochs; did you mean --training.epochs?"),
        (["compare", "--config", "avdigits", "--spiking.tau=3"], "spiking.tau; did you mean --model.spiking.tau?"),
        (["train", "--output", "x", "--seed", "1"], "seed; did you mean --data.avdigits.seed or --training.seed?"),
        (["train", "--output", "x", "--config", "avdigits/ann", "--data", "."], "name another layout by data.reader"),
    ],
)
def test_bad_words_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: list[str], message: str
):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["--model.psai", "0.3"], "unknown key model.psai; did you mean --model.psi?"),
        (["--model.psi", "strong"], "model.psi"),
        (["--model.guidance", "both"], "model.guidance"),
        (["--model.d_model", "7"], "model.d_model (7) must be even"),
        (["--training.epochs", "0"], "training.epochs: must be >0, not 0"),
        (["--model.slots.temporal_encoder", "{block: spiking, tau: 1}"], "tau must be above 1 simulation step"),
        (["--model.slots.feed_forward.block", "braincog"], "'braincog' is a temporal encoder"),
        (["--model.slots.feed_forward.taux", "3"], "model.slots.feed_forward: unknown key taux; did you mean tau?"),
        (["--model.slots.feed_forward.tau", "slow"], "model.slots.feed_forward: tau: must be a number, not slow"),
        (["--model.slots.feed_back.tau", "3"], "model.slots.feed_back.tau"),
        (["--data", "nowhere"], "no directory nowhere"),
        (["--precision", "16"], "training.precision: must be one of '32', 'tf32', 'bf16-mixed', '64'"),
        (["--device=tpu"], "training.device"),
        (["--data"], "argument --data.directory: expected one argument"),
        (["--data.keep_in", "device", "--data.workers", "2"], "data.keep_in: device needs data.workers: 0, not 2"),
        (["--data.keep_in", "disk", "--data.keep_as", "float16"], "data.keep_as: float16 needs clips that are kept"),
        (["--training.compile", "yes"], "training.compile"),
    ],
)
def test_bad_options_name_the_key(tmp_path: Path, capsys: pytest.CaptureFixture, override: list[str], message: str):
    config = write_config(tmp_path)
    line = fails(capsys, "train", "--config", str(config), "--output", str(tmp_path / "out"), *override)
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("reading", [["--data.keep_in", "memory"], ["--data.keep_in", "disk", "--data.workers", "1"]])
def test_nan_features_end_training_with_the_file_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture, reading: list[str]
):
    config = write_config(tmp_path)
    audio = np.zeros((12, 10, 6), np.float32)
    audio[3, 2, 1] = np.nan
    write_ave(tmp_path / "ave", audio=audio)
    words = ["train", "--quiet", "--config", str(config), "--output", str(tmp_path / "out"), *reading]
    assert "audio_feature.h5: row 3 holds NaN or infinity" in fails(capsys, *words)


def test_a_key_is_not_abbreviated(tmp_path: Path, capsys: pytest.CaptureFixture):
    words = ["--config", str(CONFIGS / "avdigits" / "ann.yaml"), "--output", str(tmp_path / "run")]
    assert "training.epoch" in fails(capsys, "train", *words, "--training.epoch", "1")


def test_an_unknown_key_in_the_yaml_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture):
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("  psi:", "  psai:"))
    assert "psai" in fails(capsys, "train", "--config", str(config), "--output", str(tmp_path / "out"))


def test_a_directory_in_use_is_refused(run: Path, capsys: pytest.CaptureFixture):
    words = ["train", "--config", str(run / "config.yaml"), "--output", str(run)]
    assert "is not empty; give a fresh --output" in fails(capsys, *words)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture):
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["hyper_parameters"]["experiment"]["model"]["d_model"] = 16
    torch.save(content, tmp_path / "other.ckpt")
    line = fails(capsys, "evaluate", "--checkpoint", str(tmp_path / "other.ckpt"))
    assert "has shape" in line and "the network has" in line and "made for another shape" in line
    (tmp_path / "broken.ckpt").write_bytes(b"not a checkpoint")
    line = fails(capsys, "evaluate", "--checkpoint", str(tmp_path / "broken.ckpt"))
    assert "broken.ckpt is not a readable PyTorch file of tensors" in line and "weights_only" not in line


def test_a_benchmark_refuses_data_that_are_not_there_before_it_measures(tmp_path: Path, capsys: pytest.CaptureFixture):
    line = fails(capsys, "benchmark", "--data", str(tmp_path / "none"), "--output", str(tmp_path / "out"))
    assert "no directory" in line
    assert not (tmp_path / "out").exists()


def test_data_of_another_shape_than_the_checkpoint_is_refused(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture):
    write_ave(tmp_path / "wide", visual=np.zeros((12, 10, 2, 3, 9), np.float32))
    line = fails(
        capsys, "predict", "--checkpoint", str(run), "--data", str(tmp_path / "wide"), "--output", str(tmp_path)
    )
    assert "wide has 9 channels of pictures, " in line and "best.ckpt takes 8 channels of pictures, " in line
    assert line.endswith(": give it such clips, or train a network on these")


def test_data_whose_classes_have_other_names_is_refused(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture):
    """In another order they are other classes; of a checkpoint or data without names nobody knows."""
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["hyper_parameters"]["shape"]["class_names"] = ("cow", "dog", "cat")
    torch.save(content, tmp_path / "named.ckpt")
    write_ave(tmp_path / "named")
    words = ["predict", "--data", str(tmp_path / "named")]
    for number, (names, checkpoint) in enumerate(
        [("cow dog cat", tmp_path / "named.ckpt"), (None, tmp_path / "named.ckpt"), ("cow cat dog", run)]
    ):
        (tmp_path / "named" / "classes.txt").unlink(missing_ok=True)
        if names is not None:
            (tmp_path / "named" / "classes.txt").write_text(names.replace(" ", "\n"))
        output = tmp_path / f"out-{number}"
        assert main([*words, "--checkpoint", str(checkpoint), "--output", str(output), "--quiet"]) == 0
    line = fails(capsys, *words, "--checkpoint", str(tmp_path / "named.ckpt"), "--output", str(tmp_path / "out"))
    assert "class 1 of" in line and "named is 'cat', of" in line and "named.ckpt it is 'dog': give it such" in line


def test_evaluate_says_what_metrics_json_says_and_more(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture):
    assert main(["evaluate", "--checkpoint", str(run), "--split", "val", "--output", str(tmp_path), "--quiet"]) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    stored = json.loads((run / "metrics.json").read_text())["val"]
    assert found["segment_accuracy"] == pytest.approx(stored["segment_accuracy"])
    assert found["relevance"] == pytest.approx(stored["relevance"])
    assert np.sum(found["confusion"]) == 30
    assert list(found["class_accuracy"]) == ["class 0", "class 1", "class 2", "background"]
    assert "is there already" in fails(
        capsys, "evaluate", "--checkpoint", str(run), "--split", "val", "--output", str(tmp_path), "--quiet"
    )


@pytest.mark.parametrize(("execution", "apart"), [("event", 1e-5), ("auto", 1e-5), ("event-int8", 0.05)])
def test_skipping_zeros_predicts_the_same(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture, execution: str, apart: float
):
    words = ["predict", "--checkpoint", str(run), "--quiet", "--output"]
    assert (
        main([*words, str(tmp_path / "dense")]) == main([*words, str(tmp_path / "new"), "--execution", execution]) == 0
    )
    dense, skipped = (np.load(tmp_path / name / "predictions.npz") for name in ("dense", "new"))
    np.testing.assert_allclose(skipped["event_logits"], dense["event_logits"], atol=apart)
    if execution == "event-int8":
        assert np.abs(skipped["event_logits"] - dense["event_logits"]).max() > 1e-5
    else:
        assert (dense["segment_class"] == skipped["segment_class"]).all()
    assert "must be one of 'dense', 'event', 'event-int8', 'auto'" in fails(
        capsys, *words, str(tmp_path), "--execution", "sparse"
    )


def test_no_compiler_is_told_in_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    from torch._inductor import config

    with config.patch({"cpp.cxx": (None, "/no/compiler"), "force_disable_caches": True}):
        options = ["--config", str(run / "config.yaml"), "--output", str(tmp_path / "new"), "--quiet"]
        assert "install g++" in fails(capsys, "train", *options, "--training.compile", "default")


@pytest.mark.parametrize(("case", "module_prefix"), [("ann/Co-Guide", ""), ("snn/Co-Guide", "module.")])
def test_imported_golden_weights_predict_the_golden_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture, case: str, module_prefix: str
):
    state = {module_prefix + key: value for key, value in reference_state(case).items()}
    torch.save(state, tmp_path / "weights.pth.tar")
    kind = case.split("/")[0]
    spiking = ["--spiking", "braincog"] if kind == "snn" else []
    weights = ["--weights", str(tmp_path / "weights.pth.tar")]
    assert main(["import-reference", *weights, "--output", str(tmp_path / "run"), *spiking]) == 0
    printed = capsys.readouterr().out
    assert "a_fc.weight" in printed and "spatial_channel_att.ave_bottleneck.weight" in printed

    visual, audio = golden_inputs()
    orders = {"train": [2], "val": [3], "test": [0, 1]}
    arrays = [np.concatenate([values, values]) for values in (visual.numpy(), audio.numpy(), golden_labels().numpy())]
    write_ave(tmp_path / "ave", *arrays, orders)
    words = ["--data", str(tmp_path / "ave"), "--precision", "64", "--split", "test", "--device", "cpu", "--quiet"]
    assert main(["predict", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), *words]) == 0
    stored = golden(kind)
    with np.load(tmp_path / "out" / "predictions.npz") as got:
        want = {
            "segment_relevance": stored[f"{case}/switch=True/is_event_scores"][..., 0].T,
            "event_logits": stored[f"{case}/switch=True/event_scores"],
            "gate": stored[f"{case}/switch=True/audio_visual_gate"][..., 0].T,
            "av_logits": stored[f"{case}/switch=True/av_score"],
        }
        assert set(got) == {*want, "segment_class", "index"}
        for name, values in want.items():
            np.testing.assert_allclose(got[name], values, rtol=0, atol=1e-9 * np.abs(values).max())
        classes = np.where(want["segment_relevance"] > 0, want["event_logits"].argmax(1)[:, None], 28)
        assert np.array_equal(got["segment_class"], classes)
        assert got["index"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("case", "config"), [("cmran/supervised", "cmran-reference"), ("cmbs/weak", "cmbs-weak-reference")]
)
def test_imported_weights_of_a_peer_predict_its_golden_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture, case: str, config: str
):
    torch.save({f"module.{key}": value for key, value in peer_state(case).items()}, tmp_path / "weights.pth.tar")
    words = ["--weights", str(tmp_path / "weights.pth.tar"), "--output", str(tmp_path / "run")]
    assert main(["import-reference", *words, "--peer", str(CONFIGS / "ave" / f"{config}.yaml")]) == 0
    assert "video_decoder.decoder.layers.0.self_attn.in_proj_weight" in capsys.readouterr().out
    visual, audio = golden_inputs()
    orders = {"train": [2], "val": [3], "test": [0, 1]}
    arrays = [np.concatenate([values, values]) for values in (visual.numpy(), audio.numpy(), golden_labels().numpy())]
    write_ave(tmp_path / "ave", *arrays, orders)
    words = ["--data", str(tmp_path / "ave"), "--split", "test", "--device", "cpu", "--quiet"]
    assert main(["predict", "--checkpoint", str(tmp_path / "run"), "--output", str(tmp_path / "out"), *words]) == 0
    stored = golden(f"peers/{case.split('/')[0]}")
    with np.load(tmp_path / "out" / "predictions.npz") as got:
        assert np.array_equal(got["segment_class"], stored[f"{case}/evaluation/predicted_class"])
        want = stored[f"{case}/output/{'raw_logits' if 'weak' in case else 'event_scores'}"]
        np.testing.assert_allclose(got["event_logits"], want, rtol=0, atol=1e-10 * np.abs(want).max())


def test_weights_of_another_shape_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    state = reference_state("ann/Co-Guide")
    state["AVInter.norm1.weight"] = torch.ones(255)
    torch.save(state, tmp_path / "bad.pth.tar")
    words = ["import-reference", "--weights", str(tmp_path / "bad.pth.tar"), "--output", str(tmp_path / "run")]
    line = fails(capsys, *words)
    assert "visual_interaction.norm.weight has shape [255], the network has [256]" in line
    assert not (tmp_path / "run").exists()
    assert "lacks the entry" in fails(capsys, *words[:2], str(save_spiking(tmp_path)), *words[3:])


def save_spiking(directory: Path) -> Path:
    """Spiking weights, to be imported as if they were dense."""
    torch.save(reference_state("snn/Co-Guide"), directory / "snn.pth.tar")
    return directory / "snn.pth.tar"


@pytest.mark.parametrize(
    "config",
    sorted([*CONFIGS.glob("av*/*.yaml"), *CONFIGS.glob("games/*.yaml")]),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_every_shipped_config_is_an_experiment(config: Path):
    from snn_cace.config import Experiment, read_config

    experiment = read_config(config, Experiment)
    assert experiment.name == config.stem
    if config.parent.name == "ave" and experiment.model.network == "cace":
        training, model = experiment.training, experiment.model
        assert (training.learning_rate, training.gradient_clip, training.epochs, training.seed) == (
            7e-4,
            0.5,
            200,
            3917,
        )
        assert (experiment.data.batch_size, training.milestones, training.decay) == (64, [10, 20, 30], 0.5)
        assert model.contrast.enabled == (training.supervision == "full")
        assert (model.psi, model.contrast.strength, model.contrast.coefficient) == (0.3, 0.6, 1.0)


@pytest.mark.parametrize(
    "config", sorted([*CONFIGS.glob("compare/*.yaml"), *CONFIGS.glob("ablation/*.yaml")]), ids=lambda path: path.stem
)
def test_every_shipped_comparison_names_experiments_on_one_data_set(config: Path, tmp_path: Path):
    from snn_cace.comparison.plan import Comparison, check_names, plan_runs, rows_of, varied_experiments
    from snn_cace.config import read_config

    comparison = read_config(config, Comparison)
    variants = [row for rows in varied_experiments(comparison, config, comparison.common) for row in rows]
    check_names(comparison, variants)
    assert len(variants) == len(comparison.experiments) * len(rows_of(comparison))
    runs = plan_runs(variants, comparison.seeds, config, tmp_path)
    assert len(runs) == len(variants) * len(comparison.seeds)
    for experiment in (variant.read() for variant in variants):
        if experiment.data.directory is None:
            network = build_network(experiment, FeatureShape(16, 48, 9))
            network(torch.randn(2, 10, 7, 7, 16), torch.randn(2, 10, 48)).segment_relevance.sum().backward()


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("ablation/*.yaml")), ids=lambda path: path.stem)
def test_every_row_of_an_ablation_is_another_network_that_can_be_built(config: Path):
    from snn_cace.comparison.plan import Comparison, varied_experiments
    from snn_cace.config import as_dict, read_config
    from snn_cace.contracts import FeatureShape
    from snn_cace.model import build_network

    study = read_config(config, Comparison)
    for rows in varied_experiments(study, config, study.common):
        experiments = [row.read() for row in rows]
        assert len({str(as_dict(e.model)) for e in experiments}) == len(experiments)
        if "ave" not in config.stem.split("-"):
            for experiment in experiments:
                build_network(experiment, FeatureShape(visual_channels=16, audio_channels=48, classes=9))
