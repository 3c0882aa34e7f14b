"""What `make demo` shows: live tracking of a synthetic recording, and replays of real clips."""
