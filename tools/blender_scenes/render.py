"""Runs in Blender's own Python: path traces scenes that were written as arrays.

    PYTHON render.py FOLDER [--samples N] [--threads N] [--positions]

For each FOLDER/*.scene.npz it writes *.light.npz with `light` (H, W, 3) float16, linear; with
--positions, (H, W, 4) float32: camera coordinates of the surface seen at each pixel's centre, and
1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from materials import (  # type: ignore[import-not-found]
    backdrop_material,
    hair_material,
    material_of,
    position_material,
)

_BLENDER_FROM_OURS = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Ours: x right, y down, z forward. Blender's: z up, y away from the camera."""

_SENSOR_MM = 36.0
_BACKDROP_M, _BACKDROP_EDGE_PX = 50.0, 16
_CHILDREN = 3
"""Hairs drawn for each strand of the package's."""
_CHILD_WIDTH, _CHILD_SPREAD_M = 0.33, 0.0016
_ARC_RADIUS_LEAST_M = 0.00003


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--positions", action="store_true")
    arguments = parser.parse_args()
    for path in sorted(arguments.folder.glob("*.scene.npz")):
        target = path.with_name(path.name.replace(".scene.", ".light."))
        if not target.exists():
            _render(path, target, arguments)


def _render(path: Path, target: Path, arguments: argparse.Namespace) -> None:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    words = json.loads(str(arrays["words"]))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    _settings(words["camera"], words["noise_seed"], arguments)
    _camera(words["camera"], arguments.positions)
    for number, piece in enumerate(words["pieces"]):
        own = {k.split("/")[1]: v for k, v in arrays.items() if k.startswith(f"{number}/")}
        if piece["strands"]:
            _strands(number, piece, own, arguments.positions)
        elif not (arguments.positions and piece["transparency"]):
            _mesh(piece, own, arguments.positions)
    if not arguments.positions:
        _lights(words["light"])
        if "background" in arrays:
            _backdrop(words["camera"], arrays["background"])
    bpy.context.scene.render.film_transparent = arguments.positions
    image = _trace(target.with_suffix(".exr"))
    temporary = target.with_suffix(".part.npz")
    np.savez(temporary, light=image if arguments.positions else image[..., :3].astype(np.float16))
    temporary.rename(target)


def _settings(camera: dict, noise_seed: int, arguments: argparse.Namespace) -> None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    render, cycles = scene.render, scene.cycles
    render.resolution_x, render.resolution_y = camera["width"], camera["height"]
    render.threads_mode, render.threads = "FIXED", arguments.threads
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_depth = "32"
    render.image_settings.color_mode = "RGBA"
    cycles.device, cycles.seed = "CPU", noise_seed
    cycles.use_adaptive_sampling = False
    cycles.samples = 1 if arguments.positions else arguments.samples
    cycles.use_denoising = not arguments.positions
    cycles.denoiser, cycles.denoising_prefilter = "OPENIMAGEDENOISE", "FAST"
    cycles.denoising_quality = "BALANCED"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 6, 3, 3
    cycles.transmission_bounces, cycles.transparent_max_bounces = 6, 8
    cycles.sample_clamp_indirect, cycles.sample_clamp_direct = 6.0, 30.0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    scene.cycles_curves.shape = "RIBBONS"
    scene.cycles_curves.subdivisions = 1
    if arguments.positions:
        cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
    scene.view_settings.view_transform = "Standard"


def _camera(words: dict, pinhole: bool) -> None:
    """Our pixel (0, 0) is the centre of the top left pixel; Blender's frame ends at its border."""
    (fx, _, cx), (_, _, cy), _ = words["intrinsics"]
    width, height = words["width"], words["height"]
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width = "HORIZONTAL", _SENSOR_MM
    data.lens = fx / width * _SENSOR_MM
    data.shift_x = (width / 2 - (cx + 0.5)) / width
    data.shift_y = ((cy + 0.5) - height / 2) / width
    data.clip_start, data.clip_end = 0.01, 100
    data.dof.use_dof = not pinhole
    data.dof.focus_distance = words["focus_m"]
    data.dof.aperture_fstop = data.lens / 1000 / words["aperture_m"]
    camera = bpy.data.objects.new("camera", data)
    camera.rotation_euler = (np.pi / 2, 0, 0)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera


def _backdrop(words: dict, light: np.ndarray) -> None:
    """A picture far behind everything, which fills the frame and which the camera alone sees."""
    (fx, _, cx), (_, _, cy), _ = words["intrinsics"]
    width, height = words["width"], words["height"]
    left, top, edge = -0.5 - _BACKDROP_EDGE_PX, -0.5 - _BACKDROP_EDGE_PX, 2 * _BACKDROP_EDGE_PX
    right, bottom = left + width + edge, top + height + edge
    corners = np.array([(left, top), (left, bottom), (right, bottom), (right, top)])
    places = np.column_stack([(corners - [cx, cy]) / fx, np.ones(4)]) * _BACKDROP_M
    mesh = bpy.data.meshes.new("backdrop")
    mesh.from_pydata(_turned(places).tolist(), [], [(0, 1, 2, 3)])
    uv = (corners + 0.5) / [width, height]
    uv[:, 1] = 1 - uv[:, 1]
    mesh.uv_layers.new(name="uv").data.foreach_set("uv", uv.astype(np.float32).ravel())
    mesh.materials.append(backdrop_material(light))
    thing = _linked(mesh)
    thing.visible_diffuse = thing.visible_glossy = thing.visible_transmission = False
    thing.visible_shadow = False


def _linked(data: bpy.types.ID) -> bpy.types.Object:
    thing = bpy.data.objects.new("thing", data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def _turned(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors @ _BLENDER_FROM_OURS.T, np.float32)


def _mesh(piece: dict, arrays: dict[str, np.ndarray], positions: bool) -> None:
    mesh = bpy.data.meshes.new("mesh")
    triangles = arrays["triangles"].astype(np.int32)
    mesh.vertices.add(len(arrays["position"]))
    mesh.vertices.foreach_set("co", _turned(arrays["position"]).ravel())
    mesh.loops.add(triangles.size)
    mesh.loops.foreach_set("vertex_index", triangles.ravel())
    mesh.polygons.add(len(triangles))
    mesh.polygons.foreach_set("loop_start", np.arange(0, triangles.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("material_index", arrays["material"].astype(np.int32))
    places = arrays["uv"][triangles.ravel()].astype(np.float32)
    places[:, 1] = 1 - places[:, 1]
    mesh.uv_layers.new(name="uv").data.foreach_set("uv", places.ravel())
    mesh.update()
    for k, row in enumerate(piece["materials"]):
        texture = arrays.get(f"texture{k}")
        made = position_material() if positions else material_of(row, texture, piece)
        mesh.materials.append(made)
    mesh.shade_smooth()
    mesh.normals_split_custom_set_from_vertices(_turned(arrays["normal"]))
    thing = _linked(mesh)
    thing.visible_shadow = not piece["transparency"]
    if piece["grown_together"]:
        _grown_together(thing)


def _grown_together(thing: bpy.types.Object) -> None:
    """One smooth skin over the capsules that hands and arms are made of."""
    joined = thing.modifiers.new("joined", "REMESH")
    joined.mode, joined.voxel_size, joined.use_smooth_shade = "VOXEL", 0.0025, True
    smooth = thing.modifiers.new("smooth", "SMOOTH")
    smooth.factor, smooth.iterations = 0.5, 8


def _strands(number: int, piece: dict, arrays: dict[str, np.ndarray], positions: bool) -> None:
    points, width, tone = arrays["position"], arrays["half_width"], arrays["tone"]
    if not positions:
        points, width, tone = _children(points, width, tone, np.random.default_rng(number))
    count, size = points.shape[:2]
    hair = bpy.data.hair_curves.new("hair")
    hair.add_curves([size] * count)
    hair.attributes["position"].data.foreach_set("vector", _turned(points.reshape(-1, 3)).ravel())
    radius = np.maximum(width, _ARC_RADIUS_LEAST_M).astype(np.float32)
    hair.attributes.new("radius", "FLOAT", "POINT").data.foreach_set("value", radius.ravel())
    hair.attributes.new("tone", "FLOAT", "CURVE").data.foreach_set("value", tone)
    made = position_material() if positions else hair_material(piece["materials"][0])
    hair.materials.append(made)
    _linked(hair)


def _children(
    points: np.ndarray, width: np.ndarray, tone: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """More and thinner hairs beside wide strands; fine ones stay as they are."""
    if width.max() < 0.0002:
        return points, width, tone
    count, size = points.shape[:2]
    aside = rng.normal(0, _CHILD_SPREAD_M / 2, (count * _CHILDREN, 1, 3))
    spread = np.linspace(0.5, 1.0, size)[None, :, None]
    many = np.repeat(points, _CHILDREN, axis=0) + aside * spread
    thin = np.repeat(width * _CHILD_WIDTH, _CHILDREN, axis=0)
    tones = np.clip(np.repeat(tone, _CHILDREN) + rng.normal(0, 0.08, len(many)), 0, 1)
    return many.astype(np.float32), thin, tones.astype(np.float32)


def _lights(words: dict) -> None:
    world = bpy.data.worlds.new("world")
    world.use_nodes = True
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 256
    bpy.context.scene.world = world
    nodes, links = world.node_tree.nodes, world.node_tree.links
    folder = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
    image = bpy.data.images.load(str(folder / f"{words['environment']}.exr"))
    picture = nodes.new("ShaderNodeTexEnvironment")
    picture.image = image
    turn = nodes.new("ShaderNodeMapping")
    turn.inputs["Rotation"].default_value[2] = words["turn_rad"]
    place = nodes.new("ShaderNodeTexCoord")
    links.new(place.outputs["Generated"], turn.inputs["Vector"])
    links.new(turn.outputs["Vector"], picture.inputs["Vector"])
    tint = nodes.new("ShaderNodeVectorMath")
    tint.operation = "MULTIPLY"
    tint.inputs[1].default_value = np.array(words["mean"]) / _mean_radiance(image)
    links.new(picture.outputs["Color"], tint.inputs[0])
    links.new(tint.outputs[0], nodes["Background"].inputs["Color"])
    for direction, color, radius in zip(
        words["directions"], words["colors"], words["angular_radius"], strict=True
    ):
        lamp = bpy.data.lights.new("lamp", "SUN")
        strength = max(color)
        lamp.energy, lamp.color = np.pi * strength, np.array(color) / max(strength, 1e-9)
        lamp.angle = 2 * radius
        towards = _turned(np.array(direction))
        thing = _linked(lamp)
        thing.rotation_mode = "QUATERNION"
        thing.rotation_quaternion = _pointing(towards)


def _mean_radiance(image: bpy.types.Image) -> float:
    """Of a panorama, over the sphere."""
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    weight = np.sin((np.arange(height) + 0.5) / height * np.pi)[:, None]
    grey = values.reshape(height, width, 4)[..., :3].mean(axis=-1)
    return float((grey * weight).sum() / (weight.sum() * width))


def _pointing(towards: np.ndarray) -> tuple[float, float, float, float]:
    """Quaternion that turns a lamp, which shines along -z, so that its light comes from there."""
    z = np.array([0.0, 0, 1])
    towards = towards / np.linalg.norm(towards)
    axis, cosine = np.cross(z, towards), float(z @ towards)
    if cosine < -0.9999:
        return 0.0, 1.0, 0.0, 0.0
    quaternion = np.array([1 + cosine, *axis])
    w, x, y, z_ = quaternion / np.linalg.norm(quaternion)
    return float(w), float(x), float(y), float(z_)


def _trace(path: Path) -> np.ndarray:
    """The picture (H, W, 4) float32, linear."""
    scene = bpy.context.scene
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    path.unlink()
    return values.reshape(height, width, 4)[::-1].copy()


if __name__ == "__main__":
    main()
