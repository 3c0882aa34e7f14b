"""Hair as strands: on the scalp, in the face, on the lids."""
