"""Synthetic people drawn in batches on the device that trains."""
