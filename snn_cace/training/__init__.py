"""Training one experiment, evaluating what came of it, and checkpoints between the two."""
