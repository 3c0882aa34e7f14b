"""The z-buffer as a CUDA kernel: one thread per triangle walks its box of pixels.

Written for numba's CUDA target, whose simulator (NUMBA_ENABLE_CUDASIM=1) runs the same code on a
CPU, where it is compared with `raster.fill_keys`.
"""

from __future__ import annotations

import functools
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numba import cuda
from torch import Tensor

from flowface_ros.synth.render.raster import DEFAULT_NEAR_M, SUBPIXEL_BITS

if TYPE_CHECKING:
    from flowface_ros.train.gpu.raster import TriangleSoup

_THREADS = 128
_TRIANGLE_BITS, _DEPTH_SCALE, _MOST_PX = 24, 2.0**31, 1 << 17
"""As in `raster`: names of other modules are no constants to the compiler."""
_LAST = (1 << _TRIANGLE_BITS) - 1
_BITS, _UNIT, _NEAR_M = SUBPIXEL_BITS, 1 << SUBPIXEL_BITS, DEFAULT_NEAR_M


@functools.cache
def is_available() -> bool:
    """Whether the kernel compiles and runs here; logs why not."""
    try:
        _self_test()
    except Exception as error:
        logging.getLogger(__name__).warning(
            "no CUDA kernel by numba (%s); rasterising by torch, which is slower", error
        )
        return False
    return True


def fill_keys(soup: TriangleSoup, keys: Tensor, width: int, height: int) -> None:
    """As `raster.fill_keys`, for tensors on a CUDA device."""
    blocks = -(-len(soup.triangles) // _THREADS)
    if not blocks:
        return
    # numba's own current device is the first one.
    with cuda.gpus[keys.device.index] if keys.device.index else nullcontext():
        _fill[blocks, _THREADS](*_arrays(soup, keys), width, height)


def _arrays(soup: TriangleSoup, keys: Tensor) -> list[Any]:
    tensors = (
        soup.vertices_px.contiguous(), soup.triangles.int().contiguous(),
        soup.image.int().contiguous(), soup.cull.to(torch.uint8).contiguous(), keys,
    )  # fmt: skip
    if not keys.is_cuda:  # the simulator
        return [tensor.numpy() for tensor in tensors]
    return [cuda.as_cuda_array(tensor) for tensor in tensors]


def _self_test() -> None:
    from flowface_ros.train.gpu.raster import TriangleSoup

    vertices = torch.tensor([[0.0, 0, 1], [8, 0, 1], [0, 8, 1]], device="cuda")
    triangles = torch.tensor([[0, 1, 2]], device="cuda")
    zero = torch.zeros(1, dtype=torch.long, device="cuda")
    keys = torch.full((64,), -1, dtype=torch.long, device="cuda")
    fill_keys(TriangleSoup(vertices, triangles, zero, zero.bool()), keys, 8, 8)
    if int((keys >= 0).sum()) not in range(28, 37):
        raise RuntimeError("the kernel draws a triangle wrongly")


# mypy: disable-error-code="no-untyped-def"


@cuda.jit(device=True)
def _snapped(value):
    return np.int64(round(np.float64(value) * _UNIT))


@cuda.jit(device=True)
def _rounded(value):
    return np.float64(np.float32(value))


@cuda.jit(device=True)
def _truncated(value):
    return np.int64(value)


@cuda.jit(device=True)
def _edge(xa, ya, xb, yb, qx, qy):
    """Edge function from a to b at q; points on a top or left edge are inside."""
    dx, dy = xb - xa, yb - ya
    bias = 0 if (dy == 0 and dx > 0) or dy < 0 else -1
    return dx * (qy - ya) - dy * (qx - xa) + bias


@cuda.jit
def _fill(vertices, triangles, image, cull, keys, width, height):
    t = cuda.grid(1)
    if t >= triangles.shape[0]:
        return
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    za, zb, zc = vertices[a, 2], vertices[b, 2], vertices[c, 2]
    # Written so that a NaN fails.
    if not (za > _NEAR_M and zb > _NEAR_M and zc > _NEAR_M and za + zb + zc < 1e30):
        return
    x_low = min(vertices[a, 0], vertices[b, 0], vertices[c, 0])
    x_high = max(vertices[a, 0], vertices[b, 0], vertices[c, 0])
    y_low = min(vertices[a, 1], vertices[b, 1], vertices[c, 1])
    y_high = max(vertices[a, 1], vertices[b, 1], vertices[c, 1])
    if not (x_high >= 0 and y_high >= 0 and x_low <= width - 1 and y_low <= height - 1):
        return
    if not (x_low > -_MOST_PX and y_low > -_MOST_PX and x_high < _MOST_PX and y_high < _MOST_PX):
        return
    xa, ya = _snapped(vertices[a, 0]), _snapped(vertices[a, 1])
    xb, yb = _snapped(vertices[b, 0]), _snapped(vertices[b, 1])
    xc, yc = _snapped(vertices[c, 0]), _snapped(vertices[c, 1])
    area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
    if area == 0 or (cull[t] != 0 and area > 0):
        return
    if area < 0:
        xb, xc, yb, yc, zb, zc = xc, xb, yc, yb, zc, zb
        area = -area
    x_first = max(0, (min(xa, xb, xc) + _UNIT - 1) >> _BITS)
    x_last = min(width - 1, max(xa, xb, xc) >> _BITS)
    y_first = max(0, (min(ya, yb, yc) + _UNIT - 1) >> _BITS)
    y_last = min(height - 1, max(ya, yb, yc) >> _BITS)
    ia = 1.0 / (float(za) * area)
    ib = 1.0 / (float(zb) * area)
    ic = 1.0 / (float(zc) * area)
    for py in range(y_first, y_last + 1):
        for px in range(x_first, x_last + 1):
            qx, qy = px << _BITS, py << _BITS
            wa = _edge(xb, yb, xc, yc, qx, qy)
            wb = _edge(xc, yc, xa, ya, qx, qy)
            wc = _edge(xa, ya, xb, yb, qx, qy)
            if wa >= 0 and wb >= 0 and wc >= 0:
                inverse = _rounded(wa * ia + wb * ib + wc * ic)
                key = (_truncated(inverse * _DEPTH_SCALE) << _TRIANGLE_BITS) + (_LAST - t)
                place = (image[t] * height + py) * width + px
                cuda.atomic.max(keys, place, key)
