"""Fast implementations of what the blocks compute: the same numbers, in fewer passes over memory.

`dispatch` alone says whether they run. LIF layers run on Numba or Triton, dropout and the
end of a residual block on Numba. Equations stand where they are used, in `neurons` and in the network.
"""
