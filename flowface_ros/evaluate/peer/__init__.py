"""Other people's trackers on the same pictures."""
