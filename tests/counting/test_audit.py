"""Audits of networks of other libraries, against sums done by hand, printed numbers and the libraries' own counters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import norse.torch as norse
import numpy as np
import pytest
import sinabs.layers
import snntorch
import torch
import torchvision
import yaml
from small import small_experiment, small_model
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import sew_resnet, spikformer, spiking_vgg
from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter
from spikingjelly.activation_based.op_counter.base import BaseCounter
from torch import nn

from neurons import eager
from snn_cace import counting
from snn_cace.cli import main
from snn_cace.config import as_dict
from snn_cace.contracts import FeatureShape
from snn_cace.counting.foreign import NEURONS, Neuron
from snn_cace.counting.operations import count_operations
from snn_cace.counting.rules import UncountedOperationError
from snn_cace.model import CaceNet
from snn_cace.report.audit import audit_sections, break_even_words, energy_table

torch.manual_seed(0)


def modules(audited: counting.Audit, count: str = "event_driven") -> dict:
    return {module.name: module.total for module in audited.count.counted[count]}


def test_a_convolution_of_values_and_of_spikes_by_hand():
    """Two channels of 3 x 3, a 3 x 3 kernel, padding 1, four outputs. A spike in a corner reaches 4 outputs each, one
    in the middle 9: 13 pairs, times 4.
    """
    network = nn.Sequential(neuron.IFNode(), nn.Conv2d(2, 4, 3, padding=1))
    currents = torch.zeros(1, 2, 3, 3)
    currents[0, 0, 0, 0] = currents[0, 1, 1, 1] = 2.0
    found = modules(counting.audit(network, currents))["1"]
    assert (found.acs, found.synops, found.macs) == (13 * 4, 13 * 4, 0)
    dense = nn.Conv2d(2, 4, 3, padding=1)
    values = counting.audit(dense, currents)
    assert modules(values, "conservative")[""].macs == 4 * 9 * 2 * 9
    assert modules(values, "zero_skipping")[""].macs == 13 * 4
    assert modules(values, "conservative")[""].weight_reads_per_clip == 2 * 9 * 4 + 4


class LeakyNetwork(nn.Module):
    """An snnTorch network: two steps of a layer that fires, read by another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.leaky, self.last = nn.Linear(3, 2), snntorch.Leaky(beta=0.5), nn.Linear(2, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        membrane, outputs = self.leaky.reset_mem(), []
        for _ in range(2):
            spikes, membrane = self.leaky(self.first(values), membrane)
            outputs.append(self.last(spikes))
        return torch.stack(outputs).mean(0)


def test_a_leaky_network_of_snntorch_by_hand():
    """Currents 0.8 and 0 at each step: 0.8, then 0.5 * 0.8 + 0.8 = 1.2, one spike of the first neuron, at the end."""
    network = LeakyNetwork()
    network.first.weight.data = torch.tensor([[0.8, 0, 0], [0, 0, 0]])
    network.first.bias.data.zero_()
    audited = counting.audit(network, torch.ones(1, 3))
    found = modules(audited)
    assert audited.steps == 2
    assert audited.firing_rate == 1 / 4
    assert (found["first"].macs, found["last"].acs) == (2 * 3 * 2, 4)
    assert (found["leaky"].macs, found["leaky"].acs, found["leaky"].state_reads) == (4, 1, 4)
    activity = audited.activity["leaky"]
    assert (activity.firing_rate, activity.dead, activity.saturated) == (0.25, 0.5, 0.0)
    twin = {module.name: module for module in audited.twin}
    assert twin["last"].static.narrow_macs == 2 * 4  # both values, once
    assert twin["last"].bits == 2  # two steps have three levels


def resnet(spiking: bool) -> nn.Module:
    if not spiking:
        return torchvision.models.resnet18().eval()
    network = sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=neuron.IFNode, num_classes=10).eval()
    functional.set_step_mode(network, "m")
    return network


def test_resnet18_costs_what_is_printed():
    """SpikingJelly #348 prints 1.82 G MACs and 8.372 mJ; 0.3 % of it is norms that are not folded, and pooling."""
    audited = counting.audit(resnet(False), torch.rand(1, 3, 224, 224))
    macs = sum(found.macs for name, found in modules(audited, "conservative").items() if "conv" in name or "fc" in name)
    macs += sum(found.macs for name, found in modules(audited, "conservative").items() if "downsample.0" in name)
    assert macs == 1_814_073_344
    assert macs == pytest.approx(1.82e9, rel=5e-3)
    assert 4.6e-9 * macs == pytest.approx(8.372, rel=5e-3)
    assert pytest.approx(13.10, abs=5e-3) == (0.50e9 * 0.9 + 2.75e9 * 4.6) * 1e-9


def test_spikes_stay_spikes_through_residual_sums_and_pooling():
    """In SEW-ResNet all convolutions but one read spikes or sums of them, which SpikingJelly takes for values."""
    network = resnet(True)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(3.0)
    audited = counting.audit(network, torch.rand(4, 1, 3, 32, 32), batch_dim=1)
    reading = {name: found for name, found in modules(audited).items() if "conv" in name or "downsample.0" in name}
    assert audited.steps == 4
    assert [name for name, found in reading.items() if found.macs] == ["conv1"]
    assert sum(found.acs for found in reading.values()) > 0
    assert set(modules(audited)) >= set(audited.activity)


def spikingjelly(network: nn.Module, values: torch.Tensor, counter: BaseCounter) -> dict[str, int]:
    """What a counter of SpikingJelly counts of convolutions and linear layers, by module."""
    with torch.no_grad(), DispatchCounterMode([counter]):
        network(values)
    functional.reset_net(network)
    found = counter.get_counts()
    products = {"aten.convolution", "aten.addmm"}
    return {
        name: sum(
            n
            for operation, n in found.get(f"{type(network).__name__}.{name}", {}).items()
            if str(operation._overloadpacket) in products
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def test_spikingjelly_counts_the_same_macs_module_by_module():
    """It also counts a MAC for each value of a norm, which stands in the weights before it here."""
    network, pictures = resnet(False), torch.rand(1, 3, 32, 32)
    ours, theirs = modules(counting.audit(network, pictures)), spikingjelly(network, pictures, MACCounter())
    assert {name: ours[name].macs for name in theirs} == theirs


@pytest.mark.parametrize(
    "build", [lambda: spiking_vgg.spiking_vgg11(spiking_neuron=neuron.IFNode), lambda: resnet(True)]
)
def test_spikingjelly_counts_the_same_synaptic_operations_of_spikes(build: Callable[[], nn.Module]):
    """A sum of spikes, behind a residual, is spikes here and values there: 2 at one place are no zero or one."""
    network = build().eval()
    functional.set_step_mode(network, "m")
    for module in network.modules():
        if isinstance(module, neuron.IFNode):
            module.v_threshold = 0.05
    pictures = torch.rand(2, 1, 3, 32, 32)
    ours = {name: found.synops for name, found in modules(counting.audit(network, pictures, batch_dim=1)).items()}
    theirs = spikingjelly(network, pictures, SynOpCounter())
    compared = {name: number for name, number in theirs.items() if number}
    assert len(compared) > 8
    assert {name: ours[name] for name in compared} == compared
    left = {name for name in theirs if ours[name] and not theirs[name]}
    assert all("conv1" in name or "downsample" in name or name == "fc" for name in left)  # what reads a sum or mean


def test_fvcore_counts_the_same_macs_module_by_module():
    fvcore = pytest.importorskip("fvcore.nn")
    network, pictures = resnet(False), torch.rand(1, 3, 32, 32)
    theirs = fvcore.FlopCountAnalysis(network, pictures).by_module()
    ours = modules(counting.audit(network, pictures), "conservative")
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert ours[name].macs == theirs[name], name


@pytest.mark.parametrize(
    "build",
    [
        lambda: (spikformer.spikformer_ti(T=2, img_size_h=32, img_size_w=32, num_classes=10), torch.rand(1, 3, 32, 32)),
        lambda: (torchvision.models.mobilenet_v3_small(), torch.rand(1, 3, 32, 32)),
        lambda: (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), torch.rand(2, 3, 16)),
        lambda: (nn.Sequential(nn.Embedding(10, 8), nn.GRU(8, 4, batch_first=True)), torch.randint(10, (2, 3))),
    ],
    ids=["spikformer", "mobilenet", "transformer", "gru"],
)
def test_networks_are_left_as_they_were(build: Callable[[], tuple[nn.Module, torch.Tensor]]):
    network, values = build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    audited = counting.audit(network, values)
    assert audited.count.total.macs + audited.count.total.acs > 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_transformers_of_other_libraries_are_counted():
    """BERT's linear layers: four of width x width and two of width x 4 width a layer, over all tokens."""
    transformers, timm = pytest.importorskip("transformers"), pytest.importorskip("timm")
    width, tokens = 16, 5
    sizes = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4 * width}
    bert = transformers.BertModel(transformers.BertConfig(vocab_size=20, **sizes), add_pooling_layer=False)
    found = modules(counting.audit(bert, torch.randint(20, (1, tokens))), "conservative")
    linear = sum(found[name].macs for name, module in bert.named_modules() if isinstance(module, nn.Linear))
    assert linear == tokens * (4 * width * width + 2 * width * 4 * width)
    assert found["embeddings.word_embeddings"].weight_reads == tokens * width
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
    assert counting.audit(network, torch.rand(1, 3, 32, 32)).count.idle == []


def test_membranes_start_from_rest_and_are_put_to_rest():
    network, pictures = resnet(True), torch.rand(2, 1, 3, 32, 32)
    first, second = (counting.audit(network, pictures, batch_dim=1).count.total for _ in range(2))
    assert vars(first) == vars(second)
    assert all(not torch.is_tensor(module.v) for module in network.modules() if isinstance(module, neuron.IFNode))


def test_recurrent_weights_within_a_neuron_of_norse_are_counted():
    """5 x 5 weights for each of 4 steps and 2 clips, beside those of the inputs."""
    network = norse.LIFRecurrent(3, 5)
    found = counting.audit(network, torch.rand(4, 2, 3), batch_dim=1).count.total
    assert found.macs - found.neuron_updates * 2 == 4 * (3 * 5 + 5 * 5)


def test_neurons_of_sinabs_fire_into_the_layer_behind():
    network = nn.Sequential(nn.Linear(3, 4), sinabs.layers.IAF(spike_threshold=torch.tensor(0.1)), nn.Linear(4, 2))
    audited = counting.audit(network, torch.rand(1, 6, 3))
    assert audited.steps == 6
    assert modules(audited)["2"].acs == 2 * audited.count.modules[2].spikes > 0


def test_inputs_of_events_are_spikes_and_axes_that_do_not_fit_are_told():
    """9 events of 2 clips reach 5 outputs each; with time taken for clips, neurons run on 2 rows where 4 would be."""
    events = torch.zeros(4, 2, 3)
    events.view(-1)[::3] = events.view(-1)[1] = 1
    network = nn.Sequential(nn.Linear(3, 5), neuron.IFNode())
    found = counting.audit(nn.Sequential(network[0]), events, batch_dim=1)
    assert (modules(found)["0"].acs, modules(found)["0"].macs) == (9 * 5 / 2, 0)
    assert found.notes == ["inputs of 0 and 1 alone are counted as spikes"]

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.network(now) for now in values])

    assert counting.audit(Loop(), torch.rand(4, 2, 3), batch_dim=1).notes == []
    (note,) = counting.audit(Loop(), torch.rand(4, 2, 3)).notes
    assert "neurons ran on 2 rows at a time, which 4 clips do not make" in note


class Fires(nn.Module):
    """A neuron that no library has."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.frac(values).gt(0.5).to(values.dtype)


def test_a_neuron_and_a_rule_from_outside_are_a_line_each():
    network, values = nn.Sequential(Fires(), nn.Linear(3, 2)), torch.tensor([[0.6, 0.1, 0.9]])
    with pytest.raises(
        UncountedOperationError, match=r"0 \(Fires\) runs aten\.frac.*COMPUTED\[torch\.ops\.aten\.frac\]"
    ):
        counting.audit(network, values)
    NEURONS[f"{__name__.partition('.')[0]}.Fires"] = Neuron(macs=0, acs=1)
    try:
        assert modules(counting.audit(network, values))["1"].acs == 2 * 2
    finally:
        del NEURONS[f"{__name__.partition('.')[0]}.Fires"]


def test_our_own_network_counts_as_in_a_comparison():
    config = small_model()
    config.slots.feed_forward = {"block": "spiking", "steps": 3, "threshold": 0.1}
    network = CaceNet(config, FeatureShape(visual_channels=5, audio_channels=6, classes=3)).eval()
    clips = torch.rand(2, 10, 2, 3, 5), torch.rand(2, 10, 6)
    audited, counted = counting.audit(network, *clips), count_operations(network, *clips)
    assert audited.steps == 3
    for name, found in audited.count.counted.items():
        assert [vars(module.total) for module in found] == [vars(module.total) for module in counted.counted[name]]


def test_neurobench_s_mackey_glass_rows():
    """LSTM: 6.03E4 effective MACs at an activation sparsity of 0.530. Its cell reads 50 values and a state of 100, and
    47 of 100 rectified values reach the output. ESN: 186 neurons at 11 % connections, connection sparsity 0.876.
    """
    cell, hidden = nn.LSTMCell(50, 100), 100
    audited = counting.audit(nn.Sequential(cell), torch.rand(1, 50))
    matrix = 4 * hidden * (50 + hidden)
    assert modules(audited, "conservative")["0"].macs - matrix in (3 * hidden, 2 * hidden)
    rectified = torch.cat([torch.ones(1, 47), -torch.ones(1, 53)], 1)
    read = counting.audit(nn.Sequential(nn.ReLU(), nn.Linear(hidden, 1)), rectified)
    assert read.count.activation_sparsity == pytest.approx(0.530)
    assert matrix + 3 * hidden + modules(read, "zero_skipping")["1"].macs == pytest.approx(6.03e4, rel=1e-3)

    reservoir = nn.ModuleDict({"inputs": nn.Linear(2, 186), "state": nn.Linear(186, 186), "out": nn.Linear(188, 1)})
    torch.nn.init.ones_(reservoir["state"].weight)
    with torch.no_grad():
        reservoir["state"].weight.flatten()[round(0.11 * 186 * 186) :] = 0
    network = nn.Sequential(reservoir["inputs"], reservoir["state"])
    network.out = reservoir["out"]
    network.forward = lambda x: network[1](network[0](x))
    assert counting.audit(network, torch.rand(1, 2)).connection_sparsity == pytest.approx(0.876, abs=5e-4)


COMMANDS = {
    "torchvision": ["torchvision.models:resnet18", "--inputs", "1x3x32x32"],
    "spikingjelly": [
        "spikingjelly.activation_based.model.spikformer:spikformer_ti",
        "--arguments",
        "{T: 2, img_size_h: 32, img_size_w: 32, num_classes: 10}",
        "--inputs",
        "1x3x32x32",
    ],
    "snntorch": ["test_audit:LeakyNetwork", "--inputs", "2x3"],
}


@pytest.mark.parametrize("library", COMMANDS)
def test_one_command_audits_a_network(library: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    assert main(["audit", *COMMANDS[library], "--output", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert result["counts"]["conservative"]["energy_mj"].keys() >= {"compute", "loihi", "routing/segment"}
    assert "inputs are random" in capsys.readouterr().out
    assert "<table>" in (tmp_path / "out" / "audit.html").read_text()
    card = (tmp_path / "out" / "card.md").read_text()
    assert [line[3] for line in card.splitlines() if line.startswith("## ")] == list("12345678")


def test_one_command_audits_our_own_network_on_its_own_clips(tmp_path: Path, capsys):
    experiment = small_experiment(None)
    experiment.model.slots.temporal_encoder = {"block": "spiking"}
    (tmp_path / "snn.yaml").write_text(yaml.safe_dump(as_dict(experiment)))
    assert main(["audit", str(tmp_path / "snn.yaml"), "--output", str(tmp_path / "out")]) == 0
    assert "no trained weights" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["simulation_steps"] > 1


LINEAR = ["torch.nn:Linear", "--arguments", "{in_features: 2, out_features: 3}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torchvision.models:nothing", "--inputs", "1x3"], "torchvision.models:nothing cannot be made"),
        (["torchvision.models:resnet18"], "audit needs --inputs SHAPE or FILE"),
        (["torchvision.models:resnet18", "--inputs", "1 by 3"], "--inputs 1 by 3: give a shape such as 1x3x64x64"),
        (["torch.nn:Mish", "--inputs", "2x3"], r"runs aten.mish.default, which no counting rule knows"),
        (["math:sqrt", "--arguments", "[4]", "--inputs", "2"], "give MODULE:FACTORY, and --arguments as {key: value}"),
        (["nowhere", "--inputs", "2"], "give MODULE:FACTORY"),
        (["torch.nn:GELU", "--inputs", "0x3"], "--inputs 0x3: sizes must be at least 1"),
        ([*LINEAR, "--inputs", "1x5"], "cannot be run on 1x5: RuntimeError"),
        ([*LINEAR, "--inputs", "missing.npy"], "--inputs missing.npy: no file missing.npy"),
        ([*LINEAR, "--inputs", "nan.npy"], "nan.npy holds NaN or infinity"),
        ([*LINEAR, "--inputs", "text.npy"], "is no input; store numbers, clips first"),
        ([*LINEAR, "--inputs", "cut.npz"], "cut.npz: neither .npy nor .npz"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("nan.npy", np.full((1, 2), np.nan, np.float32))
    np.save("text.npy", np.array(["spike"]))
    np.savez("whole.npz", values=np.ones((2, 2)))
    Path("cut.npz").write_bytes(Path("whole.npz").read_bytes()[:40])
    assert main(["audit", *arguments, "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1


def test_silence_does_not_tell_a_break_even_rate():
    """Neurons that never fire save the wide layer behind them; how much a spike would cost there is not seen."""
    network = nn.Sequential(neuron.IFNode(v_threshold=1e9), nn.Linear(8, 4000))
    found = counting.audit(network, torch.ones(1, 8)).as_json()
    rows = [row for row in energy_table(found) if "once a" not in row["model"]]
    assert {row["break-even rate, %"] for row in rows} == {"not known"}
    said = audit_sections(found)[1].lines[0]
    assert "not known, where nothing fired" in said and "Rows of weights read once a segment or clip" in said


@pytest.mark.parametrize(
    ("ratio", "break_even", "rate", "words"),
    [
        (0.5, 0.25, 0.1, "25"),
        (1.5, None, 0.1, "never"),
        (1.5, None, 0.0, "never"),
        (0.5, None, 0.1, "always"),
        (0.5, None, 0.0, "not known"),
    ],
)
def test_break_even_rates_are_a_number_or_a_word(ratio: float, break_even: float | None, rate: float, words: str):
    assert break_even_words({"ratio": ratio, "break_even": break_even}, rate) == words


def test_inputs_come_from_files(tmp_path: Path, capsys):
    np.savez(tmp_path / "inputs.npz", values=np.ones((4, 2), bool))
    assert main(["audit", *LINEAR, "--inputs", str(tmp_path / "inputs.npz"), "--output", str(tmp_path / "o")]) == 0
    assert json.loads((tmp_path / "o" / "audit.json").read_text())["clips"] == 4
    assert "random" not in capsys.readouterr().out


def test_average_pooling_leaves_sums_of_spikes_that_a_convolution_adds():
    network = nn.Sequential(neuron.IFNode(), nn.AvgPool2d(2), layer.Conv2d(1, 3, 1))
    currents = torch.tensor([[[[2.0, 2.0], [0.0, 2.0]]]])
    audited = counting.audit(network, currents)
    assert modules(audited)["2"].acs == 3 * 3
    assert modules(audited, "conservative")["2"].macs == 3
    with eager(), torch.no_grad():
        assert network(currents).shape == (1, 3, 1, 1)


def test_only_a_norm_that_can_be_folded_is_free():
    """One convolution of 1 x 1 over 8 x 8: 4 x 4 products a place, and 4 of a norm that stands by itself; 12 of one
    whose mean and variance are those of its input.
    """
    values, places = torch.rand(1, 4, 8, 8), 64
    for behind, own in (
        ([nn.BatchNorm2d(4)], 0),
        ([nn.ReLU(inplace=True), nn.BatchNorm2d(4)], 4),
        ([nn.ReLU(), nn.BatchNorm2d(4)], 4),
        ([nn.BatchNorm2d(4, track_running_stats=False)], 3 * 4),
    ):
        found = counting.audit(nn.Sequential(nn.Conv2d(4, 4, 1), *behind), values)
        assert found.count.total.macs == (16 + own) * places, behind


class Difference(nn.Module):
    """One layer's spikes less another's, read by a linear layer: values, no spikes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.linear = neuron.IFNode(0.5), neuron.IFNode(1.0), nn.Linear(4, 2)

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.add(self.first(currents), self.second(currents), alpha=-1))


def test_a_difference_of_spikes_is_no_spikes():
    audited = counting.audit(Difference(), torch.full((1, 4), 0.7))
    assert modules(audited)["linear"].macs == 8
    assert min(audited.energy_mj("event_driven").values()) > 0


@pytest.mark.parametrize("unknown", [neuron.PSN(4), neuron.EIFNode()])
def test_a_neuron_that_no_rule_knows_stops_the_audit(unknown: nn.Module):
    kind = type(unknown).__name__
    with pytest.raises(UncountedOperationError, match=f"0 is a {kind}, a neuron that no rule knows"):
        counting.audit(nn.Sequential(unknown, nn.Linear(4, 2)), torch.rand(4, 1, 4), batch_dim=1)


class ByName(nn.Module):
    """An LSTM whose input is given by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 16, batch_first=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.lstm(input=values)[0]


def test_a_module_reads_the_same_whether_its_input_is_named_or_not():
    named, values = ByName(), torch.rand(1, 5, 3)
    assert counting.audit(named, values).count.total == counting.audit(named.lstm, values).count.total


def test_pooling_by_hand():
    """The largest of 8 values is 7 comparisons; 4 windows of 9 spikes are 36 additions though they overlap."""
    assert counting.audit(nn.MaxPool3d(2), torch.rand(1, 2, 4, 4, 4)).count.total.comparisons == 16 * 7
    network, ones = nn.Sequential(neuron.IFNode(0.5), nn.AvgPool2d(3, 1)), torch.ones(1, 1, 4, 4)
    assert modules(counting.audit(network, ones))["1"].acs == 36
    network = nn.Sequential(neuron.IFNode(0.5), nn.AvgPool2d(2, divisor_override=1), nn.Conv2d(1, 1, 1))
    assert modules(counting.audit(network, ones))["2"].synops == 16


def test_a_transposed_convolution_of_spikes_leaves_out_what_is_cut_off():
    network = nn.Sequential(neuron.IFNode(0.5), nn.ConvTranspose2d(1, 1, 3, padding=1))
    assert modules(counting.audit(network, torch.ones(1, 1, 4, 4)))["1"].synops == 100


class Bordered(nn.Module):
    """Spikes with values at their borders, read by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.neuron, self.linear = neuron.IFNode(0.5), nn.Linear(8, 2)

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        return self.linear(nn.functional.pad(self.neuron(currents), (2, 2), value=0.5))


def test_values_at_the_borders_are_no_spikes():
    found = modules(counting.audit(Bordered(), torch.ones(1, 4)))["linear"]
    assert (found.synops, found.macs) == (0, 16)
