"""Data sets of scanned people on the user's disk, as training batches. Nothing of them ships."""
