"""Ground truth: people, motion, scenes, rigs and renderers."""
