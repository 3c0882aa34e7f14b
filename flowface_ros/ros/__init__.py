"""The only room that imports rclpy: conversions, synchronizer, TF, parameters, nodes."""
