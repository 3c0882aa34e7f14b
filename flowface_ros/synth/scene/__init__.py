"""Scenes: people who move, cameras, backgrounds, sensors, and the pictures taken of them."""
