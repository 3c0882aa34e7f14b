"""Lens models, calibrated cameras and rigs: pixels, rays and metres."""
