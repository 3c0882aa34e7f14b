from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.camera.camera import Camera, pinhole
from flowface_ros.camera.lens import Lens
from flowface_ros.evaluate.moving_mesh import MovingMesh, frontal_length_px, project_vertices
from flowface_ros.evaluate.shared_pixels import covered_pixels
from flowface_ros.evaluate.ssme import ssme
from flowface_ros.rigid import rotation_from_rotvec, transform

CAMERA = pinhole(80, 60, 0.9)
FOCAL = CAMERA.intrinsics[0, 0]
FRAMES = 40
MEAN_H = 15.5
"""Mean of 1..30."""


def grid(steps: int, half: float = 0.2, depth: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A square of 2 steps^2 triangles across the optical axis."""
    x, y = np.meshgrid(*[np.linspace(-half, half, steps + 1)] * 2)
    vertices = np.stack([x, y, np.full_like(x, depth)], axis=-1).reshape(-1, 3)
    corner = np.arange((steps + 1) * steps).reshape(steps, steps + 1)[:, :-1].reshape(-1)
    a, b, c, d = corner, corner + 1, corner + steps + 1, corner + steps + 2
    return vertices, np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])


def sphere(rings: int = 60, radius: float = 0.15, depth: float = 1.0) -> MovingMesh:
    theta, phi = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij"
    )
    directions = np.stack(
        [np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], axis=-1
    ).reshape(-1, 3)
    row = 2 * rings + 1
    corner = (np.arange(rings)[:, None] * row + np.arange(2 * rings)).reshape(-1)
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + row + 1], 1),
            np.stack([corner, corner + row + 1, corner + row], 1),
        ]
    )
    return MovingMesh(triangles, [radius * directions + (0, 0, depth)])


def moving(steps: int, velocity: np.ndarray, frames: int = FRAMES, **shape: float) -> MovingMesh:
    vertices, triangles = grid(steps, **shape)
    return MovingMesh(triangles, [vertices + t * np.asarray(velocity) for t in range(frames)])


def test_a_translated_plane_against_a_still_one() -> None:
    truth, still = moving(3, (0.001, 0, 0)), moving(3, (0, 0, 0))
    result = ssme(truth, still, [CAMERA] * FRAMES)
    expected = FOCAL * 0.001 * np.arange(1, 31)
    np.testing.assert_allclose(result.by_horizon_px(), expected, rtol=1e-5)
    assert result.score_px() == pytest.approx(FOCAL * 0.001 * MEAN_H, rel=1e-5)


def test_a_plane_that_comes_nearer() -> None:
    """A point at pixel x goes to c + (x - c) z / (z - h v): mean over the pixels by hand."""
    v, h, frames = 0.01, 4, 5
    truth, still = moving(2, (0, 0, -v), frames), moving(2, (0, 0, 0), frames)
    x, y = np.meshgrid(np.arange(80), np.arange(60))
    offset = np.stack([x, y], axis=-1) - CAMERA.intrinsics[:2, 2]
    inside = (np.abs(offset) <= 0.2 * FOCAL).all(axis=-1)  # of the still one, which is smaller
    expected = np.linalg.norm(offset, axis=-1)[inside].mean() * (1 / (1 - h * v) - 1)
    result = ssme(truth, still, [CAMERA] * frames)
    assert result.by_horizon_px()[h - 1] == pytest.approx(expected, rel=1e-5)


def test_a_rotated_sphere_against_a_still_one() -> None:
    """Rays meet the sphere at points that are turned about its centre."""
    frames, step, radius = 6, 0.02, 0.15
    still = sphere(radius=radius)
    centre = np.array([0, 0, 1.0])
    points = still.vertices[0] - centre
    turned = [points @ rotation_from_rotvec([0, t * step, 0]).T + centre for t in range(frames)]
    truth = MovingMesh(still.triangles, turned)
    fine = pinhole(160, 120, 0.9)
    result = ssme(truth, MovingMesh(still.triangles, still.vertices * frames), [fine] * frames)

    x, y = np.meshgrid(np.arange(160), np.arange(120))
    rays, _ = fine.unproject(np.stack([x, y], axis=-1).reshape(-1, 2))
    along = rays @ centre
    root = along**2 - (1 - radius**2)
    # The outermost pixels belong to the polygon or not; the mean is over what both have.
    rays, along, root = (values[root > 2e-4] for values in (rays, along, root))
    surface = rays * (along - np.sqrt(root))[:, None] - centre
    for h in range(1, frames):
        after = surface @ rotation_from_rotvec([0, h * step, 0]).T + centre
        u = fine.project(after)[0] - fine.project(rays)[0]
        expected = np.linalg.norm(u, axis=-1).mean()
        assert result.by_horizon_px()[h - 1] == pytest.approx(expected, rel=0.02)


def test_a_jittering_prediction_of_a_still_head() -> None:
    """Two places in turn: wrong by their distance over odd horizons, right over even ones."""
    truth = moving(3, (0, 0, 0))
    base, amplitude = truth.vertices[0], 0.002
    jitter = MovingMesh(
        truth.triangles, [base + np.array([(t % 2) * amplitude, 0, 0]) for t in range(40)]
    )
    result = ssme(truth, jitter, [CAMERA] * FRAMES)
    expected = np.where(np.arange(1, 31) % 2, FOCAL * amplitude, 0)
    np.testing.assert_allclose(result.by_horizon_px(), expected, atol=1e-5)


def test_a_constant_offset_along_the_surface_costs_nothing() -> None:
    """SSME judges motion: the position is for other figures."""
    truth = moving(3, (0.001, 0, 0))
    shifted = MovingMesh(truth.triangles, [v + np.array([0.01, 0.02, 0]) for v in truth.vertices])
    assert ssme(truth, shifted, [CAMERA] * FRAMES).score_px() == pytest.approx(0, abs=1e-5)


def test_topologies_of_one_surface_score_alike() -> None:
    truth = moving(4, (0.001, 0.0004, -0.002))
    scores = [
        ssme(truth, moving(steps, (0, 0.0003, 0)), [CAMERA] * FRAMES).score_px()
        for steps in (1, 5, 12)
    ]
    assert np.ptp(scores) < 1e-4 * scores[0]


def test_the_nearer_of_two_surfaces_is_judged() -> None:
    """A small square before a large one: each is judged only where it is seen."""
    (far, far_triangles), (near, near_triangles) = grid(2), grid(2, half=0.05, depth=0.5)
    triangles = np.concatenate([far_triangles, near_triangles + len(far)])
    far_step, near_step = np.array([0.001, 0, 0]), np.array([0, 0.0005, 0])
    still = np.concatenate([far, near])
    moved = np.concatenate([far + far_step, near + near_step])
    is_near = np.arange(len(triangles)) >= len(far_triangles)
    result = ssme(
        MovingMesh(triangles, [still, moved]),
        MovingMesh(triangles, [still, still]),
        [CAMERA] * 2,
        {"near": is_near, "far": ~is_near},
    )
    assert result.score_px("near") == pytest.approx(FOCAL * 0.0005 / 0.5, rel=1e-5)
    assert result.score_px("far") == pytest.approx(FOCAL * 0.001, rel=1e-5)
    near_count, far_count = result.count[1, 0], result.count[2, 0]
    assert near_count == pytest.approx((2 * 0.05 * FOCAL / 0.5) ** 2, rel=0.1)
    assert near_count + far_count == result.count[0, 0]


@pytest.mark.parametrize("frames", [1, 2, 11])
def test_a_clip_shorter_than_the_horizon(frames: int) -> None:
    result = ssme(moving(1, (0.001, 0, 0), frames), moving(1, (0, 0, 0), frames), [CAMERA] * frames)
    reached = np.isfinite(result.by_horizon_px())
    np.testing.assert_array_equal(reached, np.arange(1, 31) < frames)
    if frames == 1:
        assert np.isnan(result.score_px())
    else:
        expected = FOCAL * 0.001 * np.arange(1, frames).mean()
        assert result.score_px() == pytest.approx(expected, rel=1e-5)


def test_regions_may_overlap() -> None:
    truth, still = moving(2, (0.001, 0, 0), 2), moving(2, (0, 0, 0), 2)
    everything = np.ones(len(truth.triangles), bool)
    half = np.arange(len(truth.triangles)) % 2 == 0
    result = ssme(
        truth, still, [CAMERA] * 2, {"all": everything, "half": half, "none": ~everything}
    )
    assert result.regions == ("overall", "all", "half", "none")
    assert result.count[0, 0] == result.count[1, 0] > result.count[2, 0] > 0 == result.count[3, 0]
    assert np.isnan(result.score_px("none"))


def test_frames_without_prediction_lower_the_coverage_alone() -> None:
    truth, still = moving(2, (0.001, 0, 0)), moving(2, (0, 0, 0))
    gaps = [None if t in (3, 4, 20) else v for t, v in enumerate(still.vertices)]
    whole = ssme(truth, still, [CAMERA] * FRAMES)
    holed = ssme(truth, MovingMesh(still.triangles, gaps), [CAMERA] * FRAMES)
    np.testing.assert_allclose(holed.by_horizon_px(), whole.by_horizon_px(), rtol=1e-6)
    pairs = sum(FRAMES - h for h in range(1, 31))
    lost = sum(
        t in (3, 4, 20) or t + h in (3, 4, 20) for h in range(1, 31) for t in range(FRAMES - h)
    )
    ratio = holed.coverage() / whole.coverage()
    assert ratio == pytest.approx(1 - lost / pairs, abs=0.01)
    none = ssme(truth, MovingMesh(still.triangles, [None] * FRAMES), [CAMERA] * FRAMES)
    assert none.coverage() == 0 and np.isnan(none.score_px())


def test_percent_of_inter_ocular_distance() -> None:
    truth, still = moving(1, (0.001, 0, 0), 4), moving(1, (0, 0, 0), 4)
    eyes = np.array([20.0, 20, 20, 20])
    result = ssme(truth, still, [CAMERA] * 4, inter_ocular_px=eyes)
    assert result.score_percent() == pytest.approx(100 * result.score_px() / 20)
    assert np.isnan(ssme(truth, still, [CAMERA] * 4).score_percent())


def test_only_judged_pixels_count() -> None:
    """Where another tracker's mesh is: here in the left half."""
    left, left_triangles = grid(1)
    left[:, 0] = np.minimum(left[:, 0], 0)
    other = MovingMesh(left_triangles, [left] * 3)
    truth, still = moving(6, (0, 0, -0.01), 3), moving(6, (0, 0, 0), 3)
    masks = covered_pixels(other, [CAMERA] * 3)
    columns = np.flatnonzero(masks[0].any(axis=0))
    assert columns.max() <= CAMERA.intrinsics[0, 2] < columns.max() + 1
    whole = ssme(truth, still, [CAMERA] * 3)
    half = ssme(truth, still, [CAMERA] * 3, judged=masks)
    assert half.count[0, 0] == pytest.approx(whole.count[0, 0] / 2, rel=0.05)
    assert half.true_count[0, 0] == half.count[0, 0]
    assert half.score_px() == pytest.approx(whole.score_px(), rel=0.05)
    with pytest.raises(ValueError, match="judged has 2 frames"):
        ssme(truth, still, [CAMERA] * 3, judged=masks[:2])


def test_clips_add_up() -> None:
    truth, still = moving(2, (0.001, 0, 0), 9), moving(2, (0, 0, 0), 9)
    once = ssme(truth, still, [CAMERA] * 9)
    twice = once + once
    assert twice.score_px() == pytest.approx(once.score_px())
    assert twice.count.sum() == 2 * once.count.sum()
    with pytest.raises(ValueError, match="regions differ"):
        once + ssme(truth, still, [CAMERA] * 9, {"all": np.ones(8, bool)})


def test_a_moving_rig() -> None:
    """A camera that moves sideways past a still plane sees the same as a still one of a moving."""
    still = moving(2, (0, 0, 0), 10)
    cameras = [CAMERA.moved(transform(np.eye(3), [-0.001 * t, 0, 0])) for t in range(10)]
    lost = MovingMesh(
        still.triangles, [v + np.array([-0.001 * t, 0, 0]) for t, v in enumerate(still.vertices)]
    )
    result = ssme(still, lost, cameras)
    np.testing.assert_allclose(
        result.by_horizon_px()[:9], FOCAL * 0.001 * np.arange(1, 10), rtol=1e-5
    )


def test_a_lens_bends_the_answer_little_within_a_triangle() -> None:
    """Against carrying each pixel's own point through the lens, on triangles of a face's size."""
    camera = replace(CAMERA, lens=Lens("plumb_bob", np.array([-0.25, 0.05, 0.001, -0.001])))
    truth, still = moving(60, (0.001, 0.0005, 0), 8), moving(60, (0, 0, 0), 8)
    result = ssme(truth, still, [camera] * 8)
    x, y = np.meshgrid(np.arange(80), np.arange(60))
    rays, _ = camera.unproject(np.stack([x, y], axis=-1).reshape(-1, 2))
    points = rays / rays[:, 2:]
    points = points[(np.abs(points[:, :2]) < 0.2).all(axis=1)]
    u = camera.project(points + np.array([0.007, 0.0035, 0]))[0] - camera.project(points)[0]
    assert result.by_horizon_px()[6] == pytest.approx(np.linalg.norm(u, axis=1).mean(), rel=0.01)


def test_a_mesh_outside_the_image_or_behind_the_camera_is_not_judged() -> None:
    for place in ((5, 0, 0), (0, 0, -3)):
        vertices, triangles = grid(1)
        away = MovingMesh(triangles, [vertices + place] * 3)
        assert ssme(away, away, [CAMERA] * 3).true_count.sum() == 0


def test_what_does_not_fit_is_named() -> None:
    plane = moving(1, (0, 0, 0), 3)
    with pytest.raises(ValueError, match="prediction has 2 frames, truth has 3"):
        ssme(plane, moving(1, (0, 0, 0), 2), [CAMERA] * 3)
    with pytest.raises(ValueError, match="cameras has 1 frames"):
        ssme(plane, plane, [CAMERA])
    with pytest.raises(ValueError, match="max_horizon is 0"):
        ssme(plane, plane, [CAMERA] * 3, max_horizon=0)
    with pytest.raises(ValueError, match="region 'nose'"):
        ssme(plane, plane, [CAMERA] * 3, {"nose": np.ones(3, bool)})
    with pytest.raises(ValueError, match="frame 1 must be"):
        MovingMesh(plane.triangles, [plane.vertices[0], plane.vertices[0][:2]])


def test_frontal_length() -> None:
    assert frontal_length_px(CAMERA, np.array([0.1, 0.1, 2.0]), 0.09) == pytest.approx(
        FOCAL * 0.09 / 2
    )
    moved: Camera = CAMERA.moved(transform(np.eye(3), [1.0, 0, 0]))
    np.testing.assert_allclose(
        project_vertices(moved, np.array([[1.0, 0, 2.0]]))[0], [*CAMERA.intrinsics[:2, 2], 2.0]
    )
