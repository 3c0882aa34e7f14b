"""Makes the picture of docs/align.md and README: what the aligner says about synthetic faces.

python tools/align_figures.py     writes docs/images/align_faces.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from face_views import ViewRange, face_views
from numpy.typing import NDArray

from flowface_ros.align.aligner import Picture, make_aligner
from flowface_ros.align.embedding import landmark_points
from flowface_ros.align.overlay import contact_sheet, draw_observations
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.skinning import pose_vertices

_RANGES = ViewRange(480, (300, 380), yaw_deg=75, pitch_deg=15, expression=1.0, occluded=0.2)
_PEOPLE, _COLUMNS, _WIDTH_PX = 8, 4, 300
_JPEG_QUALITY = 85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    images = Path(__file__).resolve().parents[1] / "docs" / "images"
    parser.add_argument("--out", type=Path, default=images / "align_faces.jpg")
    parser.add_argument("--seed", type=int, default=13)
    args = parser.parse_args()
    model = load_builtin_head()
    aligner = make_aligner("network", model, device="cpu")
    points = landmark_points(model)
    pictures: list[NDArray[np.uint8]] = []
    for view in face_views(args.seed, _PEOPLE, 1, _RANGES, True, "rendering"):
        assert view.image is not None
        ((answer,),) = aligner.align([Picture(view.image)], [[view.crop]])
        true = points.interpolate(model.triangles, pose_vertices(model, view.state))
        plain = view.image.copy()
        for x, y in np.round(view.camera.project(true)[0]).astype(int):
            cv2.circle(plain, (int(x), int(y)), 1, (80, 255, 80), -1)
        drawn = draw_observations(view.image, [answer.observation])
        pictures.append(np.concatenate([plain, drawn]))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet = contact_sheet(pictures, _COLUMNS, _WIDTH_PX)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    cv2.imwrite(str(args.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), quality)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
