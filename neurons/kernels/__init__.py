"""Firing rates in fewer passes over memory: the same numbers, by Numba on a CPU and by Triton on CUDA. `dispatch` alone
says whether kernels run.
"""
