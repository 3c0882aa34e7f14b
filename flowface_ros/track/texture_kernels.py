# mypy: disable-error-code="no-untyped-def"
"""Compiled inner loops of texture memory.

N points, M motions, K references. Arrays of numbers per point have the point first, so that what
belongs to one point lies together.
"""

from __future__ import annotations

import numpy as np

from flowface_ros.fit.kernels import simd

LANES = 4
"""Columns that `smooth` works on at once."""


@simd
def motions(lens, points, jacobian, crop_from_image, camera_from_head, rig_from_head, sigmas, out):
    """Fills out (N, 2, 6 + L): crop pixels by which motions move points (N, 3) of the head's frame.

    The first six are translation and rotation about the head's origin, in the rig's axes.
    jacobian: (N, 3, L) d point / d others. sigmas: (6 + L,) by how much of each.
    lens: (N, 2, 3) d pixel / d point of the camera's frame. crop_from_image: (2, 2).
    camera_from_head, rig_from_head: (3, 3).
    """
    p = np.empty((2, 3))
    others = jacobian.shape[2]
    for n in range(len(points)):
        for i in range(2):
            for k in range(3):
                p[i, k] = 0.0
                for j in range(3):
                    x = (
                        crop_from_image[i, 0] * lens[n, 0, j]
                        + crop_from_image[i, 1] * lens[n, 1, j]
                    )
                    p[i, k] += x * camera_from_head[j, k]
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for i in range(2):
            a, b, c = p[i, 0], p[i, 1], p[i, 2]
            for j in range(3):
                u, v, w = rig_from_head[j, 0], rig_from_head[j, 1], rig_from_head[j, 2]
                out[n, i, j] = sigmas[j] * (a * u + b * v + c * w)
                turned = a * (v * z - w * y) + b * (w * x - u * z) + c * (u * y - v * x)
                out[n, i, 3 + j] = sigmas[3 + j] * turned
            for k in range(others):
                moved = a * jacobian[n, 0, k] + b * jacobian[n, 1, k] + c * jacobian[n, 2, k]
                out[n, i, 6 + k] = sigmas[6 + k] * moved


@simd
def facing(points, normals, eye, skull, out):
    """Fills out (N,) with cosines of the angle between normals and the way from points to an eye.

    points, eye: (N, 3), (3,) in the head's frame. normals: (N, 3) in the skull's.
    skull: (3, 3) head from skull.
    """
    for n in range(len(points)):
        x, y, z = eye[0] - points[n, 0], eye[1] - points[n, 1], eye[2] - points[n, 2]
        along = 0.0
        for k in range(3):
            along += normals[n, k] * (skull[0, k] * x + skull[1, k] * y + skull[2, k] * z)
        out[n] = along / np.sqrt(x * x + y * y + z * z)


@simd
def spread(rows, shares, values, out):
    """Fills out (Q, C) with means of values (N, C): of rows (Q, 4), by shares (Q, 4)."""
    for q in range(len(rows)):
        a, b, c, d = shares[q, 0], shares[q, 1], shares[q, 2], shares[q, 3]
        i, j, k, n = rows[q, 0], rows[q, 1], rows[q, 2], rows[q, 3]
        for m in range(values.shape[1]):
            out[q, m] = a * values[i, m] + b * values[j, m] + c * values[k, m] + d * values[n, m]


@simd
def gather(rows, shares, values, out):
    """Adds to out (N, C) what values (Q, C) give to rows (Q, 4), by shares (Q, 4)."""
    for q in range(len(rows)):
        for k in range(rows.shape[1]):
            for m in range(values.shape[1]):
                out[rows[q, k], m] += shares[q, k] * values[q, m]


@simd
def _bilinear(picture, x, y):
    """A picture (H, W) at a place; its border goes on outside."""
    height, width = picture.shape
    x = min(max(x, np.float32(0)), np.float32(width - 1))
    y = min(max(y, np.float32(0)), np.float32(height - 1))
    column, row = min(int(x), width - 2), min(int(y), height - 2)
    a, b, one = x - np.float32(column), y - np.float32(row), np.float32(1)
    top = (one - a) * picture[row, column] + a * picture[row, column + 1]
    bottom = (one - a) * picture[row + 1, column] + a * picture[row + 1, column + 1]
    return (one - b) * top + b * bottom


@simd
def sample(picture, places, out):
    """Fills out (N,) with a picture (H, W) at places (N, 2), bilinear."""
    for n in range(len(places)):
        out[n] = _bilinear(picture, places[n, 0], places[n, 1])


@simd
def compare(picture, places, told, known, out):
    """Fills out (N, K) with a picture (H, W) at places (N, 2) less what was told (N, K), or with 0
    where known (N, K) is 0."""
    for n in range(len(places)):
        value = _bilinear(picture, places[n, 0], places[n, 1])
        for k in range(told.shape[1]):
            out[n, k] = known[n, k] * (value - told[n, k])


@simd
def smooth(start, node, weight, values, nodes, out):
    """Fills out (N, K) with W W^T values (N, K); K is a multiple of LANES.

    W is sparse, (N, nodes): row n has weight at node from start[n] to start[n + 1].
    nodes: (nodes, LANES), zeros, and zeros again afterwards.
    """
    for k in range(0, values.shape[1], LANES):
        for n in range(len(values)):
            a, b, c, d = (values[n, k], values[n, k + 1], values[n, k + 2], values[n, k + 3])
            for e in range(start[n], start[n + 1]):
                w, j = weight[e], node[e]
                nodes[j, 0] += w * a
                nodes[j, 1] += w * b
                nodes[j, 2] += w * c
                nodes[j, 3] += w * d
        for n in range(len(values)):
            a = b = c = d = np.float32(0)
            for e in range(start[n], start[n + 1]):
                w, j = weight[e], node[e]
                a += w * nodes[j, 0]
                b += w * nodes[j, 1]
                c += w * nodes[j, 2]
                d += w * nodes[j, 3]
            out[n, k], out[n, k + 1], out[n, k + 2], out[n, k + 3] = a, b, c, d
        nodes[:] = np.float32(0)


@simd
def weigh(difference, smooth, known, noise, mad_to_sigma, share, weight, pull):
    """What differs (Q, K), less what differs smoothly (Q, K); weight (Q,) is filled with the sum
    over references of its inverse variance, pull (Q,) with that times it.

    Next to nothing for outliers. A reference that looks different throughout counts less: its scale
    is its own median. Those whose known (Q, K) is 0 count nothing.
    """
    detail, size = np.empty((2, len(difference)), np.float32)
    one, half = np.float32(1), np.float32(0.5)
    weight[:], pull[:] = 0, 0
    for k in range(difference.shape[1]):
        count, quiet, sigma = 0, 0, noise
        for n in range(len(difference)):
            detail[n] = difference[n, k] - smooth[n, k]
            if known[n, k] > 0:
                size[count] = abs(detail[n])
                quiet += mad_to_sigma * size[count] <= noise
                count += 1
        # A median below the noise need not be found out.
        if count > 0 and quiet <= count // 2:
            sigma = max(noise, mad_to_sigma * np.float32(np.median(size[:count])))
        for n in range(len(difference)):
            ratio = half * detail[n] / sigma
            spoilt = sigma * (one + ratio * ratio)
            w = known[n, k] * share / (spoilt * spoilt)
            weight[n] += w
            pull[n] += w * detail[n]


@simd
def inform(slope_x, slope_y, places, weight, pull, rows, shares, information, force):
    """Fills information (N, 3: xx, xy, yy) and force (N, 2) of the points' places: what weight (Q,)
    and pull (Q,) of intensities at places (Q, 2) between them say.

    slope_x, slope_y: (H, W) derivatives of the intensity. rows, shares: (Q, 4), see `spread`.
    """
    information[:], force[:] = 0, 0
    for q in range(len(places)):
        if weight[q] > 0:
            x = _bilinear(slope_x, places[q, 0], places[q, 1])
            y = _bilinear(slope_y, places[q, 0], places[q, 1])
            xx, xy, yy = weight[q] * x * x, weight[q] * x * y, weight[q] * y * y
            for k in range(rows.shape[1]):
                n, share = rows[q, k], shares[q, k]
                information[n, 0] += share * xx
                information[n, 1] += share * xy
                information[n, 2] += share * yy
                force[n, 0] += share * pull[q] * x
                force[n, 1] += share * pull[q] * y


@simd
def whiten(information, moves, out):
    """Fills out (N, 2, M) with L^T moves (N, 2, M), where L L^T is each point's information
    (N, 3: xx, xy, yy)."""
    zero = np.float32(0)
    for n in range(len(moves)):
        a = np.sqrt(information[n, 0])
        b = information[n, 1] / a if a > 0 else zero
        c = np.sqrt(max(information[n, 2] - b * b, zero))
        for m in range(moves.shape[2]):
            out[n, 0, m] = a * moves[n, 0, m] + b * moves[n, 1, m]
            out[n, 1, m] = c * moves[n, 1, m]


@simd
def scale(moves, factor, out):
    """Fills out (N, 2, M) with moves (N, 2, M) times each point's factor (N,)."""
    for n in range(len(moves)):
        for i in range(2):
            for m in range(moves.shape[2]):
                out[n, i, m] = factor[n] * moves[n, i, m]
