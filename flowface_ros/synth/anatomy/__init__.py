"""What drawing knows of a head: its tables, skin, eyes, teeth, hairline, where things sit on it."""
