"""Shading in blocks against the same formulas, one point at a time in plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flowface_ros.camera.camera import Camera
from flowface_ros.head.model_file import load_builtin_head
from flowface_ros.head.state import neutral_state
from flowface_ros.synth.person.person import Odds, sample_person
from flowface_ros.synth.render.blocks import BLOCK, NORMAL, OPENNESS, POSITION, UV
from flowface_ros.synth.render.drawing import Drawing, Samples
from flowface_ros.synth.render.light import Light, sample_light, sh_basis
from flowface_ros.synth.render.materials import Surface
from flowface_ros.synth.scene import picture

SIZE = 80
GREY_HAIR = np.array([0.32, 0.31, 0.30])


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt(vector @ vector + 1e-12)


class Slow:
    """Colours of pixels from the samples' triangles, by the definitions."""

    def __init__(self, drawn: Drawing, samples: Samples, camera: Camera, light: Light) -> None:
        self.drawn, self.samples, self.camera, self.light = drawn, samples, camera, light
        self.vertices = drawn.attributes.astype(float)
        self.eye = camera.rig_from_camera[:3, 3]

    def pixel(self, x: int, y: int) -> np.ndarray:
        """Light of a pixel before a black background."""
        groups = self.groups(x, y)
        return sum((self.point(*g) * g[3] / 4 for g in groups), np.zeros(3))

    def groups(self, x: int, y: int) -> list[tuple[int, float, float, int]]:
        found: list[list] = []  # triangle, sample, depth, count
        for v, u in ((v, u) for v in (0, 1) for u in (0, 1)):
            t = self.samples.triangle[2 * y + v, 2 * x + u]
            inverse = self.samples.inverse_depth[2 * y + v, 2 * x + u]
            if t < 0:
                continue
            kind, strands = self.drawn.material[t], 0
            for group in found:
                same = group[0] == t
                if not same and self.drawn.material[group[0]] == kind:
                    if self.drawn.materials["surface"][kind] == Surface.HAIR:
                        strands += 1
                        same = strands == 2
                    else:
                        same = abs(inverse - group[2]) < 0.006 * inverse
                if same:
                    group[3] += 1
                    break
            else:
                found.append([t, (2 * x + u, 2 * y + v), inverse, 1])
        middle = (2 * x + 0.5, 2 * y + 0.5)
        return [(t, *(middle if n == 4 else at), n) for t, at, _, n in found]

    def point(self, t: int, x: float, y: float, _: int) -> np.ndarray:
        corners = self.vertices[self.drawn.triangles[t]]
        flat = np.column_stack([corners[:, :2], np.ones(3)])
        w = np.linalg.solve(flat.T, [x, y, 1.0]) / corners[:, 2]
        w = np.maximum(w / w.sum(), 0)
        mixed = (w / w.sum()) @ corners
        row = self.drawn.materials[self.drawn.material[t]]
        view = unit(self.eye - mixed[POSITION : POSITION + 3])
        if row["surface"] == Surface.HAIR:
            return self.hair(mixed, row, view)
        return self.solid(t, mixed, row, view, x, y)

    def ambient(self, direction: np.ndarray) -> np.ndarray:
        return np.maximum(sh_basis(direction[None])[0] @ self.light.ambient, 0)

    def lit(self, point: np.ndarray, row: np.void, slack: float) -> float:
        """A 3x3 box of texels around a point of the shadow map, each lit or not; 1 beside it."""
        rows = self.drawn.shadow_frames[row["shadow_map"]].astype(float)
        shadow = self.drawn.shadow_maps[row["shadow_map"]]
        x, y, depth = rows[:3, :3] @ point + rows[:3, 3]
        ix, iy = int(np.floor(x)), int(np.floor(y))
        if min(ix, iy) < 1 or max(ix, iy) >= len(shadow) - 2:
            return 1.0
        window = shadow[iy - 1 : iy + 3, ix - 1 : ix + 3] < 1 / (depth - slack * rows[3, 0])
        wx, wy = ([1 - f, 1, 1, f] for f in (x - ix, y - iy))
        return float(np.array(wy) @ window @ np.array(wx)) / 9

    def hair(self, mixed: np.ndarray, row: np.void, view: np.ndarray) -> np.ndarray:
        (tone, along), open_share = mixed[UV : UV + 2], mixed[OPENNESS]
        white = row["grey"] * 0.6 + (0.4 if tone * np.float32(37.7) % 1 < row["grey"] else 0)
        color = row["tint"] + white * (GREY_HAIR - row["tint"])
        color = color * (0.55 + 0.9 * tone) * (0.8 + 0.4 * along)
        point, tangent = mixed[POSITION : POSITION + 3], unit(mixed[NORMAL : NORMAL + 3])
        outward = point - row["center"]
        normal = unit(outward - (outward @ tangent) * tangent)
        total = color * self.ambient(normal) * open_share
        for k, light in enumerate(self.light.directions.astype(float)):
            nl = normal @ light
            if nl < -0.45:
                continue
            lit = (0.5 + 0.5 * open_share) * open_share
            lit *= self.lit(point, row, 3.0) if k == 0 else 1
            diffuse = np.sqrt(max(1 - (tangent @ light) ** 2, 0)) * max((nl + 0.35) / 1.35, 0)
            half = tangent @ unit(light + view)
            alpha2, facing = row["roughness"] ** 2, max(nl + 0.25, 0)
            plain = (1 / (1 + (half - 0.10) ** 2 / alpha2)) ** 2 * row["specular"] * facing
            tinted = (1 / (1 + (half + 0.14) ** 2 / (4 * alpha2))) ** 2 * 0.5 * facing
            total += self.light.colors[k] * lit * (color * (diffuse + tinted) + plain)
        return total

    def texture(self, t: int, mixed: np.ndarray, row: np.void) -> tuple[np.ndarray, float, tuple]:
        """Linear colour, gloss and slope of the height along u and v."""
        size, first = row["texture_size"], row["texture"]
        image = self.drawn.textures[first : first + 5 * size**2].reshape(size, size, 5) / 255
        place = mixed[UV : UV + 2].astype(np.float32) * size - np.float32(0.5)
        limit = np.float32(size - 1.01)
        ends = row["surface"] in (Surface.SKIN, Surface.EYE)
        x, y = np.clip(place, 0, limit) if ends else place - np.floor(place / limit) * limit
        ix, iy = int(x), int(y)
        ax, ay = x - ix, y - iy
        around = image[iy : iy + 2, ix : ix + 2]
        value = np.einsum("i,j,ijc->c", [1 - ay, ay], [1 - ax, ax], around)
        h = around[..., 3] * row["bump_m"] * size
        hu = (h[0, 1] - h[0, 0]) * (1 - ay) + (h[1, 1] - h[1, 0]) * ay
        hv = (h[1, 0] - h[0, 0]) * (1 - ax) + (h[1, 1] - h[0, 1]) * ax
        return value[:3] ** 2, value[4], (hu, hv)

    def bumped(self, t: int, normal: np.ndarray, slope: tuple) -> np.ndarray:
        corners = self.vertices[self.drawn.triangles[t]]
        edges = (corners[1:] - corners[0])[:, POSITION : POSITION + 3]
        uv = (corners[1:] - corners[0])[:, UV : UV + 2]
        if abs(np.linalg.det(uv)) < 1e-10:
            return normal
        along = np.linalg.solve(uv, edges)
        return unit(normal - sum(h * a / (a @ a + 1e-9) for h, a in zip(slope, along, strict=True)))

    def lid(self, t: int, mixed: np.ndarray, row: np.void, x: float, y: float) -> float:
        """Light on an eye, from which of ten samples around see something else."""
        step = 2 * self.camera.intrinsics[0, 0] * 0.0014 / mixed[2]
        taps = [(row["up_px"] * step * (k + 1) / 2, 0.15) for k in range(4)]
        turns = np.arange(6) * np.pi / 3
        taps += [(step * np.array([np.cos(a), np.sin(a)]), 0.06) for a in turns]
        seen = self.samples.triangle
        light = 1.0
        for (dx, dy), weight in taps:
            column, line = int(x + dx), int(y + dy)
            if not (0 <= column < seen.shape[1] and 0 <= line < seen.shape[0]):
                continue
            other = seen[line, column]
            if other < 0 or self.drawn.material[other] != self.drawn.material[t]:
                light -= weight
        return max(light, 0.12)

    def solid(
        self, t: int, mixed: np.ndarray, row: np.void, view: np.ndarray, x: float, y: float
    ) -> np.ndarray:
        surface, open_share = row["surface"], mixed[OPENNESS]
        normal, color, gloss = unit(mixed[NORMAL : NORMAL + 3]), row["tint"].astype(float), 1.0
        if surface != Surface.SKIN and normal @ view < 0:
            normal = -normal
        if row["texture"] >= 0:
            painted, gloss, slope = self.texture(t, mixed, row)
            color = color * painted
            if row["bump_m"] > 0:
                normal = self.bumped(t, normal, slope)
        lid = self.lid(t, mixed, row, x, y) if surface == Surface.EYE else 1.0
        diffuse = self.ambient(normal) * open_share * lid
        if surface == Surface.SKIN:
            diffuse = diffuse * (1 + np.array([0.35, 0.08, 0.0]) * (1 - open_share))
        mirror = normal
        if surface == Surface.EYE and normal @ row["axis"] >= 0.82:
            mirror = unit(normal + 0.55 * (normal - row["axis"]))
        nv = max(mirror @ view, 0.02)
        rough, spec = float(row["roughness"]), float(row["specular"])
        fresnel = spec + max((1 - rough) ** 2 * 0.7 - spec, 0) * (1 - nv) ** 5
        strength = fresnel * (1 - 0.6 * rough) * gloss * open_share**2 * lid
        coarse = sh_basis((2 * nv * mirror - view)[None])[0][:4] @ self.light.ambient[:4]
        shine = np.maximum(coarse, 0) * strength
        for k, light in enumerate(self.light.directions.astype(float)):
            nl = normal @ light
            if nl < -0.45:
                continue
            lit = 0.5 + 0.5 * open_share
            lit *= self.lit(mixed[POSITION : POSITION + 3], row, 1.0) if k == 0 else 1
            wrap = np.array([0.26, 0.10, 0.06]) * (surface == Surface.SKIN)
            share = np.maximum((nl + wrap) / (1 + wrap), 0) * lit * lid
            if surface == Surface.SKIN:
                share[0] *= 0.6 + 0.4 * (2 - lit)
            diffuse = diffuse + self.light.colors[k] * share
            if mirror @ light <= 0:
                continue
            half = unit(light + view)
            nh = max(mirror @ half, 0)
            edge = spec + (1 - spec) * (1 - max(view @ half, 0)) ** 5
            if surface == Surface.EYE:
                radius = self.light.angular_radius[k]
                disc = np.clip(1.6 - (1 - nh**2) / (0.25 * radius**2), 0, 1)
                spot = edge * disc * 0.7 / radius**2 * min(2 * lid, 1)
            else:
                spot = gloss * ggx(mirror @ light, nv, nh, rough) * edge
            shine = shine + self.light.colors[k] * spot * lit
        return color * diffuse + shine


def ggx(nl: float, nv: float, nh: float, rough: float) -> float:
    spread = nh**2 * (rough**2 - 1) + 1
    shadowed = nl * (nv * (1 - rough) + rough) + nv * (nl * (1 - rough) + rough)
    return rough**2 / spread**2 * 0.5 / shadowed * nl


def drawn_person(seed: int) -> tuple[np.ndarray, Slow]:
    """A picture's light before black, and what computes it slowly."""
    model, rng = load_builtin_head(), np.random.default_rng(seed)
    who = sample_person(model, rng, 128, 400, Odds(glasses=0, hat=0, scarf=0, clothes=1))
    middle = SIZE / 2 - 0.5
    intrinsics = np.array([[2.2 * SIZE, 0, middle], [0, 2.2 * SIZE, middle], [0, 0, 1.0]])
    camera = Camera("test", SIZE, SIZE, intrinsics)
    turn = np.array([np.pi, 0, 0]) + rng.normal(0, 0.15, 3)
    state = replace(
        neutral_state(model), shape=who.shape, rotation=turn, translation=np.array([0, 0, 0.7])
    )
    light = sample_light(rng)
    drawn = Drawing([picture._posed(who, state, camera)], (), camera, light)
    samples = picture._sampled(drawn, camera)
    image = np.zeros((SIZE, SIZE, 3), np.float32)
    picture._shade(drawn, samples, camera, light, image)
    return image, Slow(drawn, samples, camera, light)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shading_in_blocks_equals_one_point_at_a_time(seed):
    image, slow = drawn_person(seed)
    triangle = slow.samples.triangle.reshape(SIZE, 2, SIZE, 2).transpose(0, 2, 1, 3)
    seen = (triangle >= 0).any(axis=(2, 3))
    assert seen.sum() > 2 * BLOCK  # several blocks, the last of them not full
    assert not image[~seen].any()
    surface = np.where(
        triangle >= 0, slow.drawn.materials["surface"][slow.drawn.material[triangle]], -1
    )
    rng = np.random.default_rng(0)
    ours, expected = [], []
    for kind in (Surface.SKIN, Surface.EYE, Surface.HAIR, Surface.MATTE):
        rows, columns = np.nonzero((surface == kind).any(axis=(2, 3)))
        assert len(rows) > 20
        for k in rng.permutation(len(rows))[:60]:
            ours.append(image[rows[k], columns[k]])
            expected.append(slow.pixel(columns[k], rows[k]))
    difference = np.abs(np.array(ours) - expected).max(axis=1)
    scale = np.abs(expected).max(axis=1) + 0.01
    # float32 decides a few shadow texels, lid taps and grey hairs otherwise
    assert np.mean(difference < 2e-3 * scale) > 0.97
    assert np.median(difference / scale) < 1e-5
