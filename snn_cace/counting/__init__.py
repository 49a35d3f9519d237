"""What a network costs: operations counted on real clips, module by module, and their energy by several models.

`audit` and `Audit` are imported when they are first asked for: a config names energy models, and needs no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snn_cace.counting.auditing import Audit, audit

__all__ = ["Audit", "audit"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from snn_cace.counting import auditing

    return getattr(auditing, name)
