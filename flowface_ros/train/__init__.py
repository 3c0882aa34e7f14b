"""Training of the alignment network: synthetic data, losses, the loop, reports."""
