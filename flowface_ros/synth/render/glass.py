"""Lenses of glasses, laid over a picture."""

from __future__ import annotations

import numpy as np

from flowface_ros.synth.render.lighting import ambient, harmonic_rows
from flowface_ros.synth.render.vectors import between, compiled, dot, plus, scaled, unit

# mypy: disable-error-code="no-untyped-def"

_ONE = np.float32(1)


@compiled
def blend_glass(
    triangle, barycentric, depth, scene_depth, position, normals, triangles, passed, specular,
    eye, sh, lights, image,
):  # fmt: skip
    """Lay lenses that are nearer than the scene over `image` (H, W, 3): what passes, what mirrors.

    triangle, barycentric, depth: fragments of the lenses. scene_depth: (H, W) metres. passed: (3,)
    share of light that goes through. specular: reflectance at normal incidence.
    """
    directions, colors, radius = lights
    rows = harmonic_rows(sh)
    for y in range(triangle.shape[0]):
        for x in range(triangle.shape[1]):
            t = triangle[y, x]
            if t < 0 or depth[y, x] > scene_depth[y, x]:
                continue
            corners = (triangles[t, 0], triangles[t, 1], triangles[t, 2])
            weights = (barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2])
            normal = unit(between(normals, corners, weights))
            point = between(position, corners, weights)
            view = unit((eye[0] - point[0], eye[1] - point[1], eye[2] - point[2]))
            nv = dot(normal, view)
            if nv < 0:
                normal, nv = scaled(normal, -_ONE), -nv
            back = plus(scaled(view, -_ONE), normal, np.float32(2) * nv)
            mirror = specular + (_ONE - specular) * (_ONE - nv) ** 5
            seen = ambient(rows, back)
            for i in range(len(directions)):
                light = (directions[i, 0], directions[i, 1], directions[i, 2])
                if dot(back, light) > np.cos(radius[i]):
                    source = (colors[i, 0], colors[i, 1], colors[i, 2])
                    seen = plus(seen, source, np.float32(0.5) / (radius[i] * radius[i]))
            for k in range(3):
                image[y, x, k] = image[y, x, k] * passed[k] * (_ONE - mirror) + mirror * seen[k]
