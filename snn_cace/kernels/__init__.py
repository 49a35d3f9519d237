"""Dense operations in fewer passes over memory, compiled by Numba: dropout, the end of a residual block, several linear
layers at once. `neurons.kernels.dispatch` says whether they run.
"""
