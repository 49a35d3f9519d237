"""Spiking building blocks over SpikingJelly: nodes from checked numbers, surrogates, codings, readouts, norms, blocks.

Depends on torch and SpikingJelly, and on Numba or Triton for its kernels. Every block starts each call from rest and
keeps no membrane after it, so no state leaks from one batch into the next and nobody has to call a reset.

What there is stands in `__init__.pyi`, and is imported when it is first asked for: a config needs no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
