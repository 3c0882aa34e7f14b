"""Writes the hashes of the shipped files into NOTICE; run it after one of them changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".npz", ".onnx")


def main() -> None:
    """Replace the line after each file's path."""
    notice = ROOT / "NOTICE"
    lines = notice.read_text().splitlines()
    for index, line in enumerate(lines):
        if line.startswith("flowface_ros/") and line.endswith(SUFFIXES):
            digest = hashlib.sha256((ROOT / line).read_bytes()).hexdigest()
            lines[index + 1] = f"  sha256 {digest}"
    notice.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
