"""The batched z-buffers against the renderer's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from flowface_ros.synth.render.raster import rasterize as reference
from flowface_ros.train.gpu.raster import TriangleSoup, perspective_weights, rasterize

torch.set_num_threads(1)
WIDTH, HEIGHT, IMAGES = 37, 29, 3


def soups(seed: int, count: int = 150) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random triangles, small and large, some behind the camera, some with NaN; a shared mesh."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(IMAGES):
        centre = rng.uniform(-5, 45, (count, 1, 2))
        corners = centre + rng.normal(0, 1, (count, 3, 2)) * np.exp(
            rng.uniform(-1, 3, (count, 1, 1))
        )
        # Corners on pixel centres make ties on edges.
        corners[: count // 3] = np.rint(corners[: count // 3])
        depth = rng.uniform(0.3, 3.0, (count, 3, 1))
        depth[:3] = -1.0
        vertices = np.concatenate([corners, depth], axis=2).reshape(-1, 3).astype(np.float32)
        vertices[40] = np.nan
        result.append((vertices, rng.permutation(3 * count).reshape(-1, 3)[:count]))
        result[-1][1][: count // 2] = np.arange(3 * (count // 2)).reshape(-1, 3)
    return result


def joined(parts: list[tuple[np.ndarray, np.ndarray]], cull: bool) -> TriangleSoup:
    start = np.cumsum([0] + [len(v) for v, _ in parts])
    triangles = np.concatenate([t + s for (_, t), s in zip(parts, start, strict=False)])
    image = np.repeat(np.arange(len(parts)), [len(t) for _, t in parts])
    return TriangleSoup(
        torch.from_numpy(np.concatenate([v for v, _ in parts])),
        torch.from_numpy(triangles),
        torch.from_numpy(image),
        torch.full((len(triangles),), cull),
    )


@pytest.mark.parametrize("cull", [False, True])
def test_batch_draws_what_the_renderer_draws(cull: bool) -> None:
    parts = soups(3)
    seen = rasterize(joined(parts, cull), IMAGES, WIDTH, HEIGHT)
    first = 0
    for k, (vertices, triangles) in enumerate(parts):
        expected = reference(vertices, triangles, WIDTH, HEIGHT, cull)
        found = seen.triangle[k].numpy()
        np.testing.assert_array_equal(np.where(found < 0, -1, found - first), expected.triangle)
        assert (expected.triangle >= 0).sum() > 200
        inverse = np.where(expected.triangle < 0, 0, 1 / expected.depth)
        np.testing.assert_allclose(seen.inverse_depth[k].numpy(), inverse, rtol=2e-3, atol=0)
        first += len(triangles)


def test_weights_are_the_renderers() -> None:
    vertices, triangles = soups(5)[0]
    expected = reference(vertices, triangles, WIDTH, HEIGHT)
    rows, columns = np.nonzero(expected.triangle >= 0)
    corners = torch.from_numpy(vertices[triangles[expected.triangle[rows, columns]]])
    weights, depth = perspective_weights(
        corners, torch.from_numpy(columns).float(), torch.from_numpy(rows).float()
    )
    np.testing.assert_allclose(weights, expected.barycentric[rows, columns], atol=1e-5)
    np.testing.assert_allclose(depth, expected.depth[rows, columns], rtol=1e-5)


SIMULATED = f"""
import torch, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_gpu_raster import soups, joined
from flowface_ros.train.gpu import raster, raster_cuda
soup = joined([(v, t[:25]) for v, t in soups(7, 30)], False)
expected = torch.full((3 * 29 * 37,), -1, dtype=torch.long)
keys = expected.clone()
raster.fill_keys(soup, expected, 37, 29)
raster_cuda.fill_keys(soup, keys, 37, 29)
assert (expected >= 0).sum() > 300
assert torch.equal(keys, expected), (keys != expected).sum()
"""


def test_cuda_kernel_in_the_simulator_equals_torch() -> None:
    environment = {
        **os.environ,
        "NUMBA_ENABLE_CUDASIM": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", SIMULATED], env=environment, check=True, timeout=60)


@pytest.mark.gpu
def test_cuda_kernel_equals_torch() -> None:
    from flowface_ros.train.gpu import raster, raster_cuda

    assert raster_cuda.is_available()
    soup = joined(soups(9), False)
    expected = torch.full((IMAGES * HEIGHT * WIDTH,), -1, dtype=torch.long)
    raster.fill_keys(soup, expected, WIDTH, HEIGHT)
    on_gpu = TriangleSoup(
        *(t.cuda() for t in (soup.vertices_px, soup.triangles, soup.image, soup.cull))
    )
    keys = torch.full_like(expected, -1).cuda()
    raster_cuda.fill_keys(on_gpu, keys, WIDTH, HEIGHT)
    assert torch.equal(keys.cpu() >= 0, expected >= 0)
    # Products may be fused, so depths differ in the last bit, and so may ties.
    same = (keys.cpu() & (1 << raster.TRIANGLE_BITS) - 1) == (
        expected & (1 << raster.TRIANGLE_BITS) - 1
    )
    assert same.float().mean() > 0.99
