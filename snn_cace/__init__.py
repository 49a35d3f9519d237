"""CACE-Net as an ANN and as an SNN from one YAML file, and what the spikes cost and save."""

__version__ = "0.1.0"
