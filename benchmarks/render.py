"""Speed of the renderer: the rasterizer alone, pictures with everything, and its stages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import harness

harness.pin_threads(1)

import numpy as np  # noqa: E402

from flowface_ros.camera.camera import Camera  # noqa: E402
from flowface_ros.head.model import HeadModel  # noqa: E402
from flowface_ros.head.model_file import load_builtin_head  # noqa: E402
from flowface_ros.head.skinning import pose_vertices  # noqa: E402
from flowface_ros.head.state import HeadState, neutral_state  # noqa: E402
from flowface_ros.synth.hair.style import sample_hair_style  # noqa: E402
from flowface_ros.synth.person.person import Odds, Person, sample_person  # noqa: E402
from flowface_ros.synth.render.light import sample_light  # noqa: E402
from flowface_ros.synth.render.raster import rasterize  # noqa: E402
from flowface_ros.synth.scene.background import sample_background  # noqa: E402
from flowface_ros.synth.scene.picture import render_scene  # noqa: E402

SCENES = (
    # name, width, height, focal length (px), distance (m): a crop that the head fills, and a
    # person before a camera
    ("256x256 crop", 256, 256, 740.0, 0.9),
    ("640x480 image", 640, 480, 600.0, 0.9),
)
TRAINING_TEXTURE, TRAINING_STRANDS = 512, 1000


def _camera(width: int, height: int, focal_px: float) -> Camera:
    intrinsics = [[focal_px, 0, width / 2 - 0.5], [0, focal_px, height / 2 - 0.5], [0, 0, 1.0]]
    return Camera("bench", width, height, np.array(intrinsics))


def _state(person: Person, distance: float) -> HeadState:
    rest = neutral_state(person.model)
    pose = np.array([0.0, 0.0, distance])
    return replace(rest, shape=person.shape, rotation=np.array([3.1, 0.2, 0.4]), translation=pose)


def _bare(model: HeadModel) -> Person:
    """A head alone: no hair, no clothes."""
    rng = np.random.default_rng(1)
    style = replace(sample_hair_style(rng), name="bald", length_m=0.0, volume_m=0.0)
    return sample_person(model, rng, TRAINING_TEXTURE, 0, Odds(0, 0, 0, 0), style)


def _least(function: Callable[[], object], repeats: int) -> dict[str, float]:
    """Least wall and CPU time of a call, ms; the latter hardly depends on what else runs."""
    function()
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.thread_time()
        function()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.thread_time() - start[1])
    return {"ms": min(wall) * 1e3, "cpu_ms": min(cpu) * 1e3}


def _rows(model: HeadModel, people: list[Person], repeats: int) -> list[dict[str, Any]]:
    rows = []
    bare = _bare(model)
    for name, width, height, focal_px, distance in SCENES:
        camera = _camera(width, height, focal_px)
        state = _state(bare, distance)
        vertices = pose_vertices(model, state)
        pixels = np.column_stack([camera.project(vertices)[0], vertices[:, 2]]).astype(np.float32)
        rng = np.random.default_rng(2)
        light, background = sample_light(rng), sample_background(rng, width, height)
        cases: dict[str, Callable[[], object]] = {
            "triangle ids, depth, barycentrics": partial(
                rasterize, pixels, model.triangles, width, height, cull_back_faces=True
            ),
            "head alone, colour and truth": partial(
                render_scene, [(bare, state)], camera, light, background
            ),
        }
        for case, function in cases.items():
            rows.append({"scene": name, "what": case, **_least(function, repeats)})
        times = []
        for person in people:
            pose = _state(person, distance)
            drawn = partial(render_scene, [(person, pose)], camera, light, background)
            times.append(_least(drawn, repeats))
        mean = {key: float(np.mean([t[key] for t in times])) for key in times[0]}
        rows.append({"scene": name, "what": "person with hair and clothes", **mean})
    return rows


def _training_rate(people: list[Person], images: int) -> tuple[float, float]:
    """256x256 pictures a second, of wall and of CPU time, with new light, background and pose
    each; people are reused."""
    rng = np.random.default_rng(3)
    camera = _camera(256, 256, 740.0)
    start = time.perf_counter(), time.thread_time()
    for k in range(images):
        person = people[k % len(people)]
        turn = np.array([np.pi, 0, 0]) + rng.normal(0, 0.2, 3)
        state = replace(_state(person, 0.9), rotation=turn)
        background = sample_background(rng, 256, 256)
        _ = render_scene([(person, state)], camera, sample_light(rng), background).rgb
    return images / (time.perf_counter() - start[0]), images / (time.thread_time() - start[1])


def main() -> None:
    arguments = harness.parser(__doc__ or "").parse_args()
    repeats, count = (5, 4) if arguments.quick else (20, 12)
    model = load_builtin_head()
    start = time.perf_counter()
    people = [
        sample_person(model, np.random.default_rng(k), TRAINING_TEXTURE, TRAINING_STRANDS)
        for k in range(count)
    ]
    seconds_a_person = (time.perf_counter() - start) / count
    rows = _rows(model, people, repeats)
    rate, cpu_rate = _training_rate(people, 4 * count)
    machine = harness.machine_description()
    print(machine + ", 1 thread; ms is the least of the repeats, of people the mean of these")
    harness.print_table(rows)
    print(
        f"training images: {rate:.1f} a second, {cpu_rate:.1f} a second of CPU time; "
        f"a new person: {seconds_a_person * 1e3:.0f} ms"
    )
    if arguments.json:
        figures = {
            "rows": rows,
            "training_images_per_s": rate,
            "training_images_per_cpu_s": cpu_rate,
            "new_person_s": seconds_a_person,
        }
        harness.write_json(arguments.json, figures)


if __name__ == "__main__":
    main()
