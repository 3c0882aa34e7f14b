"""Compiled loops over observations against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from flowface_ros.fit import kernels, robust
from flowface_ros.fit.result import inlier_share, view_statistics
from flowface_ros.fit.views import Views, stack_views

NU, SCALE = 5.0, 1.3


@pytest.fixture
def seen(world, rng) -> tuple[Views, np.ndarray]:
    """Three cameras' views of most of the points, two observations of one of them, and the points;
    one point is behind a camera."""
    rig = world.rig(3)
    truth = world.head(rng)
    whole = world.see(truth, rig, rng)
    split = [whole[0][:150], whole[1], whole[2][30:], whole[0][150:370]]
    points = world.evaluator.positions(truth)
    points[57] = (points[57] - [0, 0, 0.7]) * 30
    return stack_views(split, rig), points


def test_views_of_several_observations_of_a_camera(seen, world) -> None:
    views, _ = seen
    np.testing.assert_array_equal(np.diff(views.start), [370, 400, 370])
    assert len(views) == views.start[-1]
    np.testing.assert_array_equal(views.view, np.repeat([0, 1, 2], [370, 400, 370]))
    assert views.seen.shape == (len(views), 2)


def test_residuals_equal_the_plain_projection(seen) -> None:
    views, points = seen
    squared, behind = views.squared_residuals(points)
    wanted, _ = plain(views, points)
    np.testing.assert_allclose(squared, wanted, rtol=1e-9)
    assert behind == np.isnan(wanted).sum() > 0


def test_information_equals_the_plain_sums(seen) -> None:
    views, points = seen
    squared, slopes = plain(views, points)
    weight = np.nan_to_num(robust.weight(squared / SCALE**2, NU))[:, None, None] / SCALE**2
    terms = np.swapaxes(slopes, 1, 2) @ (weight * matrices(views)) @ slopes
    wanted = np.zeros((len(points), 3, 3))
    np.add.at(wanted, views.row, terms)
    upper = wanted[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    information, vector = views.vertex_information(points, NU, SCALE)
    np.testing.assert_allclose(information, upper, atol=1e-9 * np.abs(upper).max())
    alone = views.vertex_vector(points, NU, SCALE)
    np.testing.assert_allclose(alone, vector, atol=1e-12 * np.abs(vector).max())
    rows = np.array([399, 57, 3, 160])
    by_view = views.information_by_view(points, rows, NU, SCALE)
    assert by_view.shape == (3, 4, 6)
    for c in range(3):
        one = np.zeros_like(wanted)
        part = views.of(c)
        np.add.at(one, views.row[part], terms[part])
        one = one[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
        np.testing.assert_allclose(by_view[c], one[rows], atol=1e-9 * np.abs(upper).max())


def plain(views: Views, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """r^T W r (K,), NaN behind the camera, and d place / d point (K, 2, 3), zero there."""
    rotation = views.rotation[views.view]
    at = np.einsum("kij,kj->ki", rotation, points[views.row]) + views.translation[views.view]
    x, y, z = at.T
    place = at[:, :2] / z[:, None]
    zero = np.zeros_like(z)
    slope = np.array([[1 / z, zero, -x / z**2], [zero, 1 / z, -y / z**2]]).transpose(2, 0, 1)
    residual = views.seen - place
    squared = np.einsum("ki,kij,kj->k", residual, matrices(views), residual)
    front = z >= kernels.NEAREST
    return np.where(front, squared, np.nan), (slope @ rotation) * front[:, None, None]


def matrices(views: Views) -> np.ndarray:
    xx, xy, yy = views.weight.T
    return np.array([[xx, xy], [xy, yy]]).transpose(2, 0, 1)


def test_sums_of_huge_residuals_do_not_overflow(rng) -> None:
    squared = 10 ** rng.uniform(-3, 60, 1000)
    squared[[3, 700]] = np.nan
    sums = robust.sums(squared, 1.0, NU)
    loss = robust.loss(squared[~np.isnan(squared)], NU)
    assert sums.count == 998
    assert sums.loss == pytest.approx(loss.sum() + 2 * loss.max())


def test_statistics_of_views(seen) -> None:
    views, points = seen
    squared, _ = views.squared_residuals(points)
    kept = NU / (NU + squared) / views.sigma**2
    assert inlier_share(views, squared, NU) == pytest.approx(
        np.nansum(kept) / np.sum(views.sigma**-2)
    )
    for c, found in enumerate(view_statistics(views, squared, NU)):
        s, sigma = squared[views.of(c)], views.sigma[views.of(c)]
        front = ~np.isnan(s)
        assert found.camera == f"cam{c}"
        assert found.count == front.sum()
        square = s[front].sum() / np.sum(sigma[front] ** -2)
        assert found.rmse_px == pytest.approx(np.sqrt(square))
        assert found.inlier_share == pytest.approx(np.nansum(kept[views.of(c)]) / np.sum(sigma**-2))
        errors = np.sort(np.sqrt(s[front]) * sigma[front])
        assert found.median_px == pytest.approx(errors[len(errors) // 2])


@pytest.mark.parametrize("rank", [2, 3])
def test_whitened_rows_are_a_root_of_the_information(rng, rank) -> None:
    """Along every axis, that of a camera that looks along one of the rig's too."""
    slopes = rng.normal(size=(40, rank, 3))
    slopes[:3] = 0.0
    for v in range(3):
        slopes[v, 0, (v + 1) % 3], slopes[v, 1, (v + 2) % 3] = 2.0, 3.0
    information = np.swapaxes(slopes, 1, 2) @ slopes
    jacobian = rng.normal(size=(40, 3, 5))
    out = whitened(information, jacobian, rank)
    wanted = np.einsum("vin,vij,vjm->vnm", jacobian, information, jacobian)
    found = np.swapaxes(out, 1, 2) @ out
    np.testing.assert_allclose(found, wanted, atol=1e-10 * np.abs(wanted).max())


def test_whitened_rows_of_neighbours_are_of_a_kind(rng) -> None:
    """Two axes that are equally well known change places from point to point; their rows must
    not, or sums over neighbours mix them."""
    slopes = np.array([[1.0, 0.0, 0.1], [0.0, 1.0, 0.2]]) + rng.normal(0, 0.02, (200, 2, 3))
    information = np.swapaxes(slopes, 1, 2) @ slopes
    out = whitened(information, np.tile(np.eye(3), (200, 1, 1)), 2)
    total, apart = out.sum(axis=0), slopes.sum(axis=0)
    wanted = apart.T @ apart
    np.testing.assert_allclose(total.T @ total, wanted, atol=2e-3 * np.abs(wanted).max())


def whitened(information: np.ndarray, jacobian: np.ndarray, rank: int) -> np.ndarray:
    out = np.empty((len(jacobian), rank, jacobian.shape[2]))
    upper = information[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    kernels.whiten(np.ascontiguousarray(upper), jacobian, out)
    return out
