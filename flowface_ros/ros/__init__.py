"""The only room that imports rclpy: conversions, synchronizer, TF, parameters, nodes."""

from flowface_ros.threads import keep_blas_to_one_thread

keep_blas_to_one_thread()  # the first that every program of this room runs
