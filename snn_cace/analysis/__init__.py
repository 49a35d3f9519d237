"""What a trained network costs and does: operations, energy, firing rates, sparsity, latency."""
