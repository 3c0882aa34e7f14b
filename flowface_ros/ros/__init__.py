"""The only room that imports rclpy: conversions, synchronizer, TF, parameters, nodes."""

import os

# BLAS reads these when numpy is imported, which comes later in every program of this room. The
# fit's matrices are small: with two threads on two busy cores they took ten times as long.
for _variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
