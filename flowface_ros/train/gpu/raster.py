"""The z-buffer of `synth.render.raster` for a batch of images, in torch on any device.

Coverage is the same to the bit: vertices snapped to 1/4096 px, integer edge functions, top-left
rule. A pixel keeps the largest of 64-bit keys, which hold the inverse depth in fixed point and,
below it, the triangle; so the order in which triangles are drawn does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flowface_ros.synth.render.raster import DEFAULT_NEAR_M, SUBPIXEL_BITS

INVERSE_DEPTH_SCALE = 2.0**31
"""Of the fixed point: float32 inverse depths of up to 128 m fit exactly."""
TRIANGLE_BITS = 24
_LAST_TRIANGLE = (1 << TRIANGLE_BITS) - 1
_MAX_COORDINATE_PX = 1 << 17
_ONE = 1 << SUBPIXEL_BITS
_MOST_CANDIDATES = {"cpu": 1 << 17, "cuda": 1 << 24}
"""Pixels of triangles' boxes that are looked at together: what fits a cache, and 2 GB."""


@dataclass(frozen=True)
class TriangleSoup:
    """Triangles of several images.

    vertices_px: (N, 3) float32: x px, y px, z metres. triangles: (T, 3) int64 rows of it.
    image: (T,) int64, the image that each belongs to. cull: (T,) bool, whether its back is not
    drawn.
    """

    vertices_px: Tensor
    triangles: Tensor
    image: Tensor
    cull: Tensor


@dataclass(frozen=True)
class Seen:
    """triangle: (B, H, W) int64 row of the soup's triangles, -1 for none. inverse_depth:
    (B, H, W) float32, 0 for none."""

    triangle: Tensor
    inverse_depth: Tensor


def rasterize(soup: TriangleSoup, images: int, width: int, height: int) -> Seen:
    """The nearest triangle at every pixel centre of every image, as by `synth.render.raster`."""
    if len(soup.triangles) > _LAST_TRIANGLE:
        raise ValueError(f"{len(soup.triangles)} triangles, at most {_LAST_TRIANGLE} fit a batch")
    keys = torch.full(
        (images * height * width,), -1, dtype=torch.int64, device=soup.vertices_px.device
    )
    fill = _cuda_fill() if keys.is_cuda else None
    if fill is not None:
        fill(soup, keys, width, height)
    else:
        fill_keys(soup, keys, width, height)
    return _decoded(keys.reshape(images, height, width))


def _cuda_fill():  # type: ignore[no-untyped-def]
    """The kernel, or None where numba cannot make one."""
    from flowface_ros.train.gpu import raster_cuda

    return raster_cuda.fill_keys if raster_cuda.is_available() else None


def _decoded(keys: Tensor) -> Seen:
    empty = keys < 0
    triangle = torch.where(empty, -1, _LAST_TRIANGLE - (keys & _LAST_TRIANGLE))
    inverse = (keys >> TRIANGLE_BITS).double() / INVERSE_DEPTH_SCALE
    return Seen(triangle, torch.where(empty, 0.0, inverse).float())


def fill_keys(soup: TriangleSoup, keys: Tensor, width: int, height: int) -> None:
    """Draw into keys (images * height * width,), which keep the largest; -1 is empty."""
    drawn = _drawn(soup, width, height)
    boxes = drawn.box_width * drawn.box_height
    ends = boxes.cumsum(0)
    start, limits, most = 0, ends.cpu(), _MOST_CANDIDATES[keys.device.type]
    while start < len(boxes):
        done = int(limits[start - 1]) if start else 0
        stop = int(torch.searchsorted(limits, done + most, right=True))
        stop = max(stop, start + 1)
        _fill_some(drawn, slice(start, stop), boxes, keys, width, height)
        start = stop


@dataclass(frozen=True)
class _Drawn:
    """Triangles that may cover a pixel, counter-clockwise in the image (y down).

    number: (K,) row of the soup. image: (K,). x, y: (K, 3) int64 snapped corners. z: (K, 3)
    float64. area: (K,) int64, twice. left, top, box_width, box_height: (K,) pixels.
    """

    number: Tensor
    image: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    area: Tensor
    left: Tensor
    top: Tensor
    box_width: Tensor
    box_height: Tensor


def _drawn(soup: TriangleSoup, width: int, height: int) -> _Drawn:
    corners = soup.vertices_px[soup.triangles]
    z = corners[..., 2]
    low, high = corners[..., :2].amin(dim=1), corners[..., :2].amax(dim=1)
    kept = (z > DEFAULT_NEAR_M).all(dim=1) & torch.isfinite(corners).all(dim=2).all(dim=1)
    kept &= (high >= 0).all(dim=1) & (low[:, 0] <= width - 1) & (low[:, 1] <= height - 1)
    kept &= ((low > -_MAX_COORDINATE_PX) & (high < _MAX_COORDINATE_PX)).all(dim=1)
    number = torch.nonzero(kept).flatten()
    corners, cull = corners[number].double(), soup.cull[number]
    x, y = (torch.round(corners[..., k] * _ONE).long() for k in (0, 1))
    z = corners[..., 2]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    turned = (area < 0)[:, None]
    x, y, z = (torch.where(turned, v[:, [0, 2, 1]], v) for v in (x, y, z))
    left, right = _span(x, width)
    top, bottom = _span(y, height)
    chosen = (area != 0) & ~(cull & (area > 0)) & (left <= right) & (top <= bottom)
    columns = (
        number, soup.image[number], x, y, z, area.abs(), left, top, right - left + 1,
        bottom - top + 1,
    )  # fmt: skip
    return _Drawn(*(column[chosen] for column in columns))


def _span(snapped: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel centre within corners (K, 3)."""
    first = (snapped.amin(dim=1) + _ONE - 1) >> SUBPIXEL_BITS
    last = snapped.amax(dim=1) >> SUBPIXEL_BITS
    return first.clamp(min=0), last.clamp(max=size - 1)


def _fill_some(
    drawn: _Drawn, some: slice, boxes: Tensor, keys: Tensor, width: int, height: int
) -> None:
    counts = boxes[some]
    row = torch.repeat_interleave(torch.arange(len(counts), device=keys.device), counts)
    within = torch.arange(len(row), device=keys.device) - (counts.cumsum(0) - counts)[row]
    row = row + some.start
    px = drawn.left[row] + within % drawn.box_width[row]
    py = drawn.top[row] + within // drawn.box_width[row]
    x, y = drawn.x[row], drawn.y[row]
    qx, qy = px << SUBPIXEL_BITS, py << SUBPIXEL_BITS
    weights = []
    for a, b in ((1, 2), (2, 0), (0, 1)):
        dx, dy = x[:, b] - x[:, a], y[:, b] - y[:, a]
        top_left = ((dy == 0) & (dx > 0)) | (dy < 0)
        weights.append(dx * (qy - y[:, a]) - dy * (qx - x[:, a]) + torch.where(top_left, 0, -1))
    covered = torch.nonzero((weights[0] | weights[1] | weights[2]) >= 0).flatten()
    row, px, py = row[covered], px[covered], py[covered]
    scale = 1.0 / (drawn.z[row] * drawn.area[row, None])
    terms = [weights[k][covered] * scale[:, k] for k in range(3)]
    inverse = (terms[0] + terms[1] + terms[2]).float().double()
    key = (inverse * INVERSE_DEPTH_SCALE).long() << TRIANGLE_BITS
    key += _LAST_TRIANGLE - drawn.number[row]
    place = (drawn.image[row] * height + py) * width + px
    keys.scatter_reduce_(0, place, key, "amax")


def perspective_weights(corners_px: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Perspective-correct weights (P, 3) of triangles' corners (P, 3, 3) at pixels x, y (P,), and
    the depth (P,) there; as `synth.render.raster.perspective_weights`."""
    dx, dy, z = corners_px[..., 0] - x[:, None], corners_px[..., 1] - y[:, None], corners_px[..., 2]
    weights = torch.stack(
        [(dx[:, b] * dy[:, c] - dx[:, c] * dy[:, b]) / z[:, a] for a, b, c in _CYCLES], dim=1
    )
    weights = torch.where(weights.sum(dim=1, keepdim=True) < 0, -weights, weights).clamp(min=0)
    total = weights.sum(dim=1, keepdim=True)
    first = torch.zeros_like(weights)
    first[:, 0] = 1
    weights = torch.where(total > 0, weights / total.clamp(min=1e-30), first)
    return weights, (weights * z).sum(dim=1)


_CYCLES = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
