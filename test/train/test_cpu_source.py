from __future__ import annotations

from itertools import islice

import numpy as np
import torch

from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.train.batch import Numbers, inside_crop
from flowface_ros.train.cpu_source import CpuSource
from flowface_ros.train.shots import crop_camera, sample_shots
from flowface_ros.train.studio import SynthConfig

torch.set_num_threads(1)


def test_the_window_of_people_slides() -> None:
    config = SynthConfig(people=5, fresh_every=2)
    for batch in range(20):
        numbers = {config.person_of(batch, draw) for draw in range(5)}
        assert numbers == set(range(batch // 2, batch // 2 + 5))
    # A draw means the same person until that one leaves.
    assert config.person_of(0, 3) == config.person_of(7, 3) == 3
    assert config.person_of(8, 3) == 8


def test_crop_is_the_ideal_one_but_for_its_faults() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal([0.1, -0.05, 0.8], 0.06, (50, 3))
    camera = crop_camera(points, 0.0, np.zeros(2), 256, 1.5)
    pixels, _ = camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    np.testing.assert_allclose((high - low).max(), 256 / 1.5, rtol=1e-6)
    np.testing.assert_allclose((low + high) / 2, 127.5, atol=1e-6)
    off = crop_camera(points, np.log(2), np.array([0.25, 0.0]), 256, 1.5)
    moved, _ = off.project(points)
    np.testing.assert_allclose(np.ptp(moved, axis=0), np.ptp(pixels, axis=0) / 2, rtol=1e-6)
    np.testing.assert_allclose((moved.min(0) + moved.max(0))[0] / 2, 127.5 - 64, atol=1e-6)


def test_shots_are_within_the_heads_bounds_and_all_around() -> None:
    model = load_builtin_head()
    shots = sample_shots(model, np.random.default_rng(0), 600)
    again = sample_shots(model, np.random.default_rng(0), 600)
    np.testing.assert_array_equal(shots.rotation, again.rotation)
    bounds = model.expression_bounds
    assert (shots.expression >= bounds[:, 0]).all() and (shots.expression <= bounds[:, 1]).all()
    for joint, name in enumerate(("neck", "jaw", "left_eye", "right_eye"), start=1):
        low, high = model.joint_bounds[joint].T
        values = getattr(shots, name)
        assert (values >= low - 1e-9).all() and (values <= high + 1e-9).all()
    from flowface_ros import rigid

    forward = rigid.rotation_from_rotvec(shots.rotation)[:, :, 2]
    yaw = np.degrees(np.arctan2(forward[:, 0], -forward[:, 2]))
    assert (np.abs(yaw) > 60).mean() > 0.12 and (np.abs(yaw) < 30).mean() > 0.4
    up = rigid.rotation_from_rotvec(shots.rotation)[:, :, 1]
    assert (up[:, 1] < -0.3).all()  # nobody is upside down


def test_batches_by_number() -> None:
    config = SynthConfig(crop_px=64, grid=16, batch_size=2, seed=1, people=2)
    first, second = islice(CpuSource(config, 0).batches(4), 2)
    again = next(CpuSource(config, 0).batches(5))
    assert torch.equal(second.light, again.light) and torch.equal(second.visible, again.visible)
    assert not torch.equal(first.light, second.light)
    # Two ranks share the numbers between them.
    other = next(CpuSource(config, 0, rank=1, world=2).batches(2))
    assert torch.equal(other.light, again.light)
    assert not (second.visible & ~inside_crop(second.position_px, 64)).any()
    assert 0.1 < second.visible.float().mean() < 0.9
    assert second.light.dtype == torch.float16 and (second.iod_px > 5).all()


def test_drawing_here_leaves_the_trainers_threads_alone() -> None:
    config = SynthConfig(crop_px=64, grid=16, batch_size=1, people=1)
    torch.set_num_threads(2)
    try:
        next(CpuSource(config, 0).batches(0))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_processes_share_the_numbers() -> None:
    taken = [list(islice(Numbers(4, rank, 3), 2)) for rank in range(3)]
    assert sorted(n for numbers in taken for n in numbers) == [12, 13, 14, 15, 16, 17]
