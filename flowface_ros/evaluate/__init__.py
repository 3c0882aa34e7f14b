"""How good a tracker is: SSME and the other figures, reports, scans and meshes on disk."""
