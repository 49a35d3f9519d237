"""ANN against SNN over seeds: runs, their measurements, and what may be concluded."""
