"""Makes the pictures of README and docs from what `make demo` wrote.

python docs/make_pictures.py out/demo
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
from numpy.typing import NDArray

from flowface_ros.demo.pictures import SHEET_ROWS
from flowface_ros.synth.sheets.head_sheet import TILE_PX

IMAGES = Path(__file__).parent / "images"
WIDTH_PX = 1280
JPEG_QUALITY = 85
SHOWN_ROWS = 2
HEAD_ROWS = {"identities": slice(0, 3), "expressions": slice(3, 9), "motion": slice(9, 11)}
"""Rows of tiles of the head sheet that each picture shows."""


def save(name: str, picture: NDArray) -> None:
    """Write a picture (H, W, 3) BGR at the width of a page."""
    scale = min(1.0, WIDTH_PX / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(IMAGES / name), small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def main() -> None:
    """Read the demo's folder given on the command line."""
    demo = Path(sys.argv[1])
    sheet = cv2.imread(str(demo / "synthetic.png"))
    save("demo.jpg", sheet[: sheet.shape[0] * SHOWN_ROWS // SHEET_ROWS])
    head = cv2.imread(str(demo / "head.png"))
    for name, rows in HEAD_ROWS.items():
        save(f"head_sheet_{name}.jpg", head[rows.start * TILE_PX : rows.stop * TILE_PX])


if __name__ == "__main__":
    main()
