"""Turns messages into what a web viewer shows; knows bags and messages, not rclpy."""
