"""The sub-commands of the `flowface` program, one module each."""
