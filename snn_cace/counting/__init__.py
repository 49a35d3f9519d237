"""What a network costs: operations counted on real clips, module by module, and their energy by several models."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"auditing": ["Audit", "audit"]})
