"""Blender materials of skin, eyes, teeth, hair and things; runs in Blender's own Python."""

from __future__ import annotations

import bpy
import numpy as np

_SKIN_RADIUS = (1.0, 0.36, 0.22)
_SKIN_SCALE_M = 0.0035
"""Mean free path of red light in skin, and what green and blue have of it."""
_PORE_SCALE, _PORE_M = 2600.0, 0.00006
_CORNEA_BULGE, _IRIS_COSINE = 0.55, 0.88
"""The cornea is more curved than the eyeball, within this cosine of the gaze."""
_GREY_HAIR = np.array([0.32, 0.31, 0.30])

Row = dict


def material_of(row: Row, texture: np.ndarray | None, piece: dict) -> bpy.types.Material:
    """Material of a row of the package's table."""
    if piece["transparency"]:
        return _glass(row, piece["transparency"])
    made, shader, links = _principled()
    shader.inputs["Base Color"].default_value = (*row["tint"], 1)
    shader.inputs["Roughness"].default_value = np.sqrt(max(row["roughness"], 0.01))
    shader.inputs["IOR"].default_value = _index(row["specular"])
    repeat = row["surface"] not in ("SKIN", "EYE")
    if texture is not None:
        color, detail = _images(made, texture, repeat)
        links.new(_tinted(made, color, row["tint"]), shader.inputs["Base Color"])
        if row["bump_m"] > 0:
            links.new(_bump(made, detail, row), shader.inputs["Normal"])
    _FINISH.get(row["surface"], _finish_plain)(made, shader, row, texture is not None)
    return made


def _principled() -> tuple[bpy.types.Material, bpy.types.Node, bpy.types.NodeLinks]:
    made = bpy.data.materials.new("material")
    made.use_nodes = True
    return made, made.node_tree.nodes["Principled BSDF"], made.node_tree.links


def _index(specular: float) -> float:
    """Refractive index of a reflectance at normal incidence."""
    root = np.sqrt(min(max(specular, 0.005), 0.6))
    return float((1 + root) / (1 - root))


def _images(
    made: bpy.types.Material, texture: np.ndarray, repeat: bool
) -> tuple[bpy.types.Node, bpy.types.Node]:
    """Nodes of linear colour, and of height (red) and gloss (green). texture: (S, S, 5) uint8:
    square root of linear R, G, B; height; gloss."""
    values = texture[::-1].astype(np.float32) / 255
    color = np.ones((*values.shape[:2], 4), np.float32)
    color[..., :3] = values[..., :3] ** 2
    detail = np.ones_like(color)
    detail[..., :2], detail[..., 2] = values[..., 3:5], 0
    nodes = []
    for pixels in (color, detail):
        node = made.node_tree.nodes.new("ShaderNodeTexImage")
        node.image, node.extension = _image(pixels), "REPEAT" if repeat else "EXTEND"
        nodes.append(node)
    return nodes[0], nodes[1]


def _image(pixels: np.ndarray) -> bpy.types.Image:
    """pixels: (H, W, 4) float32, linear, the lowest row first."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new("", width, height, alpha=False, float_buffer=True, is_data=True)
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    return image


def _tinted(
    made: bpy.types.Material, color: bpy.types.Node, tint: list[float]
) -> bpy.types.NodeSocket:
    node = made.node_tree.nodes.new("ShaderNodeVectorMath")
    node.operation = "MULTIPLY"
    node.inputs[1].default_value = tint
    made.node_tree.links.new(color.outputs["Color"], node.inputs[0])
    return node.outputs[0]


def _bump(made: bpy.types.Material, detail: bpy.types.Node, row: Row) -> bpy.types.NodeSocket:
    nodes, links = made.node_tree.nodes, made.node_tree.links
    split = nodes.new("ShaderNodeSeparateColor")
    links.new(detail.outputs["Color"], split.inputs["Color"])
    bump = nodes.new("ShaderNodeBump")
    bump.inputs["Distance"].default_value = row["bump_m"]
    bump.inputs["Strength"].default_value = 1.0
    links.new(split.outputs["Red"], bump.inputs["Height"])
    if row["surface"] != "SKIN":
        return bump.outputs["Normal"]
    pores = nodes.new("ShaderNodeTexNoise")
    pores.inputs["Scale"].default_value = _PORE_SCALE
    pores.inputs["Detail"].default_value = 1.0
    place = nodes.new("ShaderNodeNewGeometry")
    links.new(place.outputs["Position"], pores.inputs["Vector"])
    fine = nodes.new("ShaderNodeBump")
    fine.inputs["Distance"].default_value = _PORE_M
    links.new(pores.outputs["Fac"], fine.inputs["Height"])
    links.new(bump.outputs["Normal"], fine.inputs["Normal"])
    return fine.outputs["Normal"]


def _finish_skin(made: bpy.types.Material, shader: bpy.types.Node, row: Row, painted: bool) -> None:
    """Light goes in and comes out some millimetres away, most of all red; oil on top."""
    shader.inputs["Subsurface Weight"].default_value = 1.0
    shader.inputs["Subsurface Radius"].default_value = _SKIN_RADIUS
    shader.inputs["Subsurface Scale"].default_value = _SKIN_SCALE_M
    shader.inputs["Coat Roughness"].default_value = 0.32
    shader.inputs["Coat IOR"].default_value = 1.45
    if not painted:
        return
    nodes, links = made.node_tree.nodes, made.node_tree.links
    split = next(n for n in nodes if n.bl_idname == "ShaderNodeSeparateColor")
    for name, factor in (("Specular IOR Level", 0.7), ("Coat Weight", 0.25)):
        scale = nodes.new("ShaderNodeMath")
        scale.operation = "MULTIPLY"
        scale.inputs[1].default_value = factor
        links.new(split.outputs["Green"], scale.inputs[0])
        links.new(scale.outputs[0], shader.inputs[name])


def _finish_eye(made: bpy.types.Material, shader: bpy.types.Node, row: Row, painted: bool) -> None:
    """A wet coat, whose normal is the cornea's over the iris."""
    x, y, z = row["axis"]
    axis = np.array([x, z, -y])
    axis /= np.linalg.norm(axis) + 1e-9
    shader.inputs["Roughness"].default_value = 0.45
    shader.inputs["Subsurface Weight"].default_value = 0.15
    shader.inputs["Subsurface Scale"].default_value = 0.002
    shader.inputs["Coat Weight"].default_value = 1.0
    shader.inputs["Coat Roughness"].default_value = 0.03
    shader.inputs["Coat IOR"].default_value = 1.376
    nodes, links = made.node_tree.nodes, made.node_tree.links
    place = nodes.new("ShaderNodeNewGeometry")
    along = _vector(made, "DOT_PRODUCT", place.outputs["Normal"], axis)
    range_node = nodes.new("ShaderNodeMapRange")
    range_node.inputs["From Min"].default_value = _IRIS_COSINE - 0.02
    range_node.inputs["From Max"].default_value = _IRIS_COSINE + 0.02
    range_node.inputs["To Max"].default_value = _CORNEA_BULGE
    links.new(along.outputs["Value"], range_node.inputs["Value"])
    away = _vector(made, "SUBTRACT", place.outputs["Normal"], axis)
    scaled = _vector(made, "SCALE", away.outputs["Vector"], None)
    links.new(range_node.outputs["Result"], scaled.inputs["Scale"])
    bent = nodes.new("ShaderNodeVectorMath")
    bent.operation = "ADD"
    links.new(place.outputs["Normal"], bent.inputs[0])
    links.new(scaled.outputs["Vector"], bent.inputs[1])
    unit = _vector(made, "NORMALIZE", bent.outputs["Vector"], None)
    links.new(unit.outputs["Vector"], shader.inputs["Coat Normal"])


def _vector(
    made: bpy.types.Material, operation: str, first: bpy.types.NodeSocket, second: np.ndarray | None
) -> bpy.types.Node:
    node = made.node_tree.nodes.new("ShaderNodeVectorMath")
    node.operation = operation
    made.node_tree.links.new(first, node.inputs[0])
    if second is not None:
        node.inputs[1].default_value = second
    return node


def _finish_wet(made: bpy.types.Material, shader: bpy.types.Node, row: Row, painted: bool) -> None:
    shader.inputs["Coat Weight"].default_value = 0.5
    shader.inputs["Coat Roughness"].default_value = 0.12


def _finish_plain(
    made: bpy.types.Material, shader: bpy.types.Node, row: Row, painted: bool
) -> None:
    """Cloth and the like: a little light is thrown back along grazing directions."""
    shader.inputs["Sheen Weight"].default_value = 0.1


_FINISH = {"SKIN": _finish_skin, "EYE": _finish_eye, "GLOSSY": _finish_wet}


def _glass(row: Row, transparency: float) -> bpy.types.Material:
    """A thin lens: what passes is not bent."""
    made, shader, links = _principled()
    nodes = made.node_tree.nodes
    nodes.remove(shader)
    clear, mirror = nodes.new("ShaderNodeBsdfTransparent"), nodes.new("ShaderNodeBsdfGlossy")
    clear.inputs["Color"].default_value = (*(np.array(row["tint"]) * transparency), 1)
    mirror.inputs["Roughness"].default_value = 0.02
    share, mix = nodes.new("ShaderNodeFresnel"), nodes.new("ShaderNodeMixShader")
    share.inputs["IOR"].default_value = 1.3
    links.new(share.outputs[0], mix.inputs[0])
    links.new(clear.outputs[0], mix.inputs[1])
    links.new(mirror.outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], nodes["Material Output"].inputs["Surface"])
    return made


def hair_material(row: Row) -> bpy.types.Material:
    """Chiang's hair; strands differ in lightness by their `tone`, some are grey."""
    made, old, links = _principled()
    nodes = made.node_tree.nodes
    nodes.remove(old)
    shader = nodes.new("ShaderNodeBsdfHairPrincipled")
    shader.parametrization = "COLOR"
    shader.inputs["Roughness"].default_value = 0.32
    shader.inputs["Radial Roughness"].default_value = 0.4
    tone = nodes.new("ShaderNodeAttribute")
    tone.attribute_name = "tone"
    ramp = nodes.new("ShaderNodeValToRGB")
    base = np.array(row["tint"])
    base = base + 0.6 * row["grey"] * (_GREY_HAIR - base)
    ramp.color_ramp.elements[0].color = (*np.clip(0.7 * base, 0.002, 0.9), 1)
    ramp.color_ramp.elements[1].color = (*np.clip(1.5 * base, 0.004, 0.9), 1)
    links.new(tone.outputs["Fac"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], shader.inputs["Color"])
    links.new(shader.outputs[0], nodes["Material Output"].inputs["Surface"])
    return made


def backdrop_material(light: np.ndarray) -> bpy.types.Material:
    """Shines with a picture's linear light (H, W, 3)."""
    made, old, links = _principled()
    nodes = made.node_tree.nodes
    nodes.remove(old)
    picture, emit = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeEmission")
    values = np.ones((*light.shape[:2], 4), np.float32)
    values[..., :3] = light[::-1]
    picture.image, picture.extension = _image(values), "EXTEND"
    links.new(picture.outputs["Color"], emit.inputs["Color"])
    links.new(emit.outputs[0], nodes["Material Output"].inputs["Surface"])
    return made


def position_material() -> bpy.types.Material:
    """Emits the surface's place in the camera's frame as we have it."""
    made, old, links = _principled()
    nodes = made.node_tree.nodes
    nodes.remove(old)
    place, split = nodes.new("ShaderNodeNewGeometry"), nodes.new("ShaderNodeSeparateXYZ")
    down, join = nodes.new("ShaderNodeMath"), nodes.new("ShaderNodeCombineXYZ")
    down.operation = "MULTIPLY"
    down.inputs[1].default_value = -1.0
    emit = nodes.new("ShaderNodeEmission")
    links.new(place.outputs["Position"], split.inputs[0])
    links.new(split.outputs["Z"], down.inputs[0])
    links.new(split.outputs["X"], join.inputs[0])
    links.new(down.outputs[0], join.inputs[1])
    links.new(split.outputs["Y"], join.inputs[2])
    links.new(join.outputs[0], emit.inputs["Color"])
    links.new(emit.outputs[0], nodes["Material Output"].inputs["Surface"])
    return made
