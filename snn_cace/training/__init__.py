"""Training of one experiment, its evaluation, and checkpoints."""
