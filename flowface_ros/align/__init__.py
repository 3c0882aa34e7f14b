"""From an image to where every point of the head is, and how sure: detector, networks, runtimes."""
