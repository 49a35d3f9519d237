"""Analyses of a trained network: operations, energy, firing rates, sparsity, latency."""
