"""rosbag2 files in and out, without rclpy."""
