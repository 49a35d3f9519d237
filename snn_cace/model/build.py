"""Which class the network is that a config names."""

from __future__ import annotations

from snn_cace.config import Experiment
from snn_cace.contracts import FeatureShape
from snn_cace.model.avel import AvelNet
from snn_cace.model.cace import CaceNet
from snn_cace.model.cmbs import CmbsNet, WeakCmbsNet
from snn_cace.model.cmran import CmranNet
from snn_cace.model.network import Network


def build_network(experiment: Experiment, shape: FeatureShape) -> Network:
    """The network that `experiment.model.network` names, with fresh weights, for features of this shape."""
    weak = experiment.training.supervision == "weak"
    cmbs = WeakCmbsNet if weak else CmbsNet
    networks: dict[str, type[CaceNet | AvelNet | CmranNet | WeakCmbsNet]] = {
        "cace": CaceNet,
        "avel": AvelNet,
        "cmran": CmranNet,
        "cmbs": cmbs,
    }
    return networks[experiment.model.network](experiment.model, shape, weak)
