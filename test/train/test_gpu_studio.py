"""Batches drawn by torch against the CPU renderer, for the same people, views and lights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flowface_ros.align.crop import FACE_MARGIN
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.synth.hair.style import sample_hair_style
from flowface_ros.synth.person.person import Odds, sample_person
from flowface_ros.synth.render.light import sample_light
from flowface_ros.synth.scene.picture import render_scene
from flowface_ros.synth.textures import srgb_from_linear
from flowface_ros.train.batch import Batch
from flowface_ros.train.gpu import source as gpu_source
from flowface_ros.train.gpu.asset import occluder_asset, person_asset
from flowface_ros.train.gpu.bank import (
    PERSON_TEXELS,
    THING_TEXELS,
    AssetBank,
    stack_lights,
    texel_store,
)
from flowface_ros.train.gpu.source import GpuSource
from flowface_ros.train.gpu.studio import Cast, GpuStudio
from flowface_ros.train.shots import crop_camera, sample_shots
from flowface_ros.train.studio import Studio, SynthConfig, iod_px, texel_truth

torch.set_num_threads(1)
SIZE, COUNT = 96, 2
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pair() -> tuple[Batch, list]:
    """The same two pictures of bald people with glasses and clothes, drawn both ways."""
    model, rng = load_builtin_head(), np.random.default_rng(8)
    style = replace(sample_hair_style(rng), name="bald", length_m=0.0, volume_m=0.0)
    odds = Odds(glasses=1.0, hat=0.0, scarf=0.0)
    people = [sample_person(model, rng, 128, 100, odds, style) for _ in range(COUNT)]
    shots = sample_shots(model, rng, COUNT)
    lights = [sample_light(rng) for _ in range(COUNT)]
    background = rng.uniform(0.1, 0.6, (COUNT, SIZE, SIZE, 3)).astype(np.float32)
    texels = texel_store(COUNT, 0, CPU)
    bank = AssetBank(texels, 0, COUNT, PERSON_TEXELS)
    for place, person in enumerate(people):
        bank.put(place, person_asset(person))
    cast = Cast(
        [bank[0], bank[1]],
        [None, None],
        torch.zeros(COUNT),
        stack_lights(lights, CPU),
        torch.from_numpy(background),
    )
    batch = GpuStudio(model, SIZE, 16, CPU).batch(shots, cast, texels)
    studio = Studio(model, SynthConfig(SIZE, 16))
    expected = []
    for k, person in enumerate(people):
        state = shots.state(k, person.shape)
        landmarks = studio.landmarks.positions(state)
        camera = crop_camera(landmarks, shots.log_scale[k], shots.shift[k], SIZE, FACE_MARGIN)
        image = render_scene([(person, state)], camera, lights[k], background[k])
        truth = texel_truth(studio.texels, state, camera, image)
        expected.append((image, *truth, iod_px(landmarks, camera)))
    return batch, expected


def test_truth_is_the_renderers(pair: tuple[Batch, list]) -> None:
    batch, expected = pair
    for k, (_, position, visible, iod) in enumerate(expected):
        np.testing.assert_allclose(batch.position_px[k], position, atol=0.01)
        np.testing.assert_allclose(batch.iod_px[k], iod, rtol=1e-4)
        assert 0.1 < visible.mean() < 0.9
        assert (batch.visible[k].numpy() == visible).mean() > 0.92


def test_pictures_look_like_the_renderers(pair: tuple[Batch, list]) -> None:
    batch, expected = pair
    for k, (image, *_) in enumerate(expected):
        ours = srgb_from_linear(batch.light[k].permute(1, 2, 0).numpy()).astype(float)
        theirs = srgb_from_linear(image.color).astype(float)
        difference = np.abs(ours - theirs)
        skin = image.face >= 0
        assert skin.mean() > 0.1
        assert np.median(difference[skin]) < 1.5 and difference[skin].mean() < 5
        assert difference.mean() < 5


def test_things_hide_faces() -> None:
    model, rng = load_builtin_head(), np.random.default_rng(3)
    shots = sample_shots(model, rng, 1)
    person = sample_person(model, rng, 64, 10)
    texels = texel_store(1, 1, CPU)
    people = AssetBank(texels, 0, 1, PERSON_TEXELS)
    things = AssetBank(texels, PERSON_TEXELS, 1, THING_TEXELS)
    people.put(0, person_asset(person))
    things.put(0, occluder_asset(np.random.default_rng(5)))
    studio = GpuStudio(model, SIZE, 16, CPU)

    def seen(thing: bool) -> torch.Tensor:
        chosen = [things[0] if thing else None]
        lights = stack_lights([sample_light(np.random.default_rng(0))], CPU)
        cast = Cast([people[0]], chosen, torch.zeros(1), lights, torch.zeros(1, SIZE, SIZE, 3))
        return studio.batch(shots, cast, texels).visible

    assert (seen(True) <= seen(False)).all()
    assert seen(True).sum() < 0.9 * seen(False).sum()


def test_a_batch_depends_on_its_number_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("_THING_COUNT", 2), ("_LIGHT_COUNT", 4), ("_BACKGROUND_COUNT", 2)):
        monkeypatch.setattr(gpu_source, name, count)
    config = SynthConfig(64, 16, batch_size=1, seed=3, people=2, fresh_every=1)
    made: list[int] = []
    plain = gpu_source._make_person
    monkeypatch.setattr(gpu_source, "_make_person", lambda n: (made.append(n), plain(n))[1])
    model = load_builtin_head()
    one = GpuSource(model, config, 0, CPU).batches(0)
    batches = [next(one) for _ in range(3)]
    assert made == [0, 1, 2, 3]  # one person leaves and one comes each time
    again = next(GpuSource(model, config, 0, CPU).batches(2))
    for ours, theirs in zip(again.tensors(), batches[2].tensors(), strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(batches[0].light, batches[1].light)
