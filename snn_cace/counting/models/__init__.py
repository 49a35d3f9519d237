"""Models of energy, a file each; `MODELS` has every one by its name, in the order of the tables.

A model of your own is a subclass of `EnergyModel`: defining it, in whatever file, is enough for it to be priced,
tabulated and drawn.
"""

# In the order of the tables.
from snn_cace.counting.models.base import MODELS, EnergyModel, Price, price
from snn_cace.counting.models.compute import Compute
from snn_cace.counting.models.memory import Memory
from snn_cace.counting.models.sram import Sram  # isort: split

from snn_cace.counting.models.hierarchy import Hierarchy
from snn_cace.counting.models.loihi import Loihi
from snn_cace.counting.models.routing import Routing
from snn_cace.counting.models.seneca import Seneca

__all__ = [
    "MODELS", "Compute", "EnergyModel", "Hierarchy", "Loihi", "Memory", "Price", "Routing", "Seneca", "Sram", "price",
]  # fmt: skip
