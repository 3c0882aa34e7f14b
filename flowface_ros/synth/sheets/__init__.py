"""Meshes drawn over images, and sheets of many pictures."""
