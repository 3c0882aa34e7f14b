"""Light on a scene: ambient light as spherical harmonics, and a few directional lights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CAMERA_UP = (0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Light:
    """Linear light in the rig frame; a white diffuse surface under irradiance 1 is white.

    ambient: (9, 3) float32, irradiance over pi as coefficients of the polynomials in `sh_basis`.
    directions: (n, 3) float32 unit vectors towards 1 to 3 directional lights; the first casts
        shadows.
    colors: (n, 3) float32 intensities.
    angular_radius: (n,) float32 radians, how large the sources look in reflections.
    """

    ambient: NDArray[np.float32]
    directions: NDArray[np.float32]
    colors: NDArray[np.float32]
    angular_radius: NDArray[np.float32]


def sh_basis(normals: ArrayLike) -> NDArray[np.float64]:
    """The nine second-order polynomials (..., 9) of unit vectors (..., 3), not normalised."""
    n = np.asarray(normals, np.float64)
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    one = np.ones_like(x)
    return np.stack([one, x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y], axis=-1)


_COSINE_LOBE = np.array([1.0, 2 / 3, 2 / 3, 2 / 3, 0.25, 0.25, 0.25, 0.25, 0.25])
"""Convolution of each band with the clamped cosine over pi (Ramamoorthi and Hanrahan 2001)."""


def ambient_from_environment(
    directions: NDArray[np.floating], radiance: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Irradiance coefficients (9, 3) of radiance (n, 3) seen in evenly spread directions (n, 3)."""
    basis = sh_basis(directions)
    gram = basis.T @ basis
    radiance_coefficients = np.linalg.solve(gram, basis.T @ np.asarray(radiance, np.float64))
    return (radiance_coefficients * _COSINE_LOBE[:, None]).astype(np.float32)


def even_directions(count: int) -> NDArray[np.float64]:
    """Unit vectors (count, 3) spread evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    azimuth = np.pi * (1 + np.sqrt(5)) * k
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(azimuth), r * np.sin(azimuth), z], axis=1)


def _blackbody_tint(kelvin: float) -> NDArray[np.float64]:
    """Linear RGB tint of a light of this colour temperature seen by a camera balanced for 5500 K;
    a fit to Planck's curve good to a few per cent, green 1."""
    mired = 1e6 / kelvin - 1e6 / 5500
    return np.exp(np.array([0.0034, 0.0, -0.0056]) * mired)


def sample_light(rng: np.random.Generator, up: ArrayLike = _CAMERA_UP) -> Light:
    """Daylight, a window, lamps, flat office light or hard sun, at an exposure that suits a face.

    up: direction of the sky in the rig frame; the default suits a rig whose frame is an upright
    camera's optical frame, and lights then come mostly from the camera's side.
    """
    sky = np.asarray(up, np.float64) / np.linalg.norm(up)
    toward_camera = np.array([0.0, 0.0, -1.0]) - sky * -sky[2]
    toward_camera /= np.linalg.norm(toward_camera) + 1e-9
    kelvin = rng.uniform(3600, 8500)
    hardness = rng.beta(1.1, 1.3)
    count = int(rng.integers(1, 4))
    spread = rng.standard_normal((count, 3)) * 0.75
    directions = spread + 0.55 * toward_camera + (0.25 + 0.5 * rng.random()) * sky
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = hardness * np.concatenate([[1.0], rng.uniform(0.1, 0.6, count - 1)])
    tints = np.array([_blackbody_tint(kelvin * np.exp(rng.normal(0, 0.12))) for _ in strength])
    colors = 1.25 * strength[:, None] * tints
    ambient = _sample_ambient(rng, sky, directions[0], _blackbody_tint(rng.uniform(4600, 8000)))
    ambient *= (1.08 - hardness) * 0.75
    exposure = np.exp(rng.normal(-0.25, 0.22)) / (0.55 + 0.35 * strength.sum())
    return Light(
        (ambient * exposure).astype(np.float32),
        directions.astype(np.float32),
        (colors * exposure).astype(np.float32),
        rng.uniform(0.05, 0.30, count).astype(np.float32),
    )


def _sample_ambient(
    rng: np.random.Generator,
    sky: NDArray[np.float64],
    key: NDArray[np.float64],
    tint: NDArray[np.float64],
) -> NDArray[np.float32]:
    """A sky, a ground that bounces light, and one to four large soft windows or walls."""
    directions = even_directions(256)
    height = directions @ sky
    ground = np.array([1.0, 0.93, 0.85]) * rng.uniform(0.15, 0.6)
    mix = 1 / (1 + np.exp(-height / 0.25))[:, None]
    radiance = mix * tint * rng.uniform(0.6, 1.1) + (1 - mix) * ground * tint
    for _ in range(rng.integers(1, 5)):
        centre = rng.standard_normal(3) + 0.5 * key
        cosine = directions @ (centre / np.linalg.norm(centre))
        lobe = np.exp((cosine - 1) * rng.uniform(2, 12))[:, None]
        wall = np.exp(rng.normal(0, 0.18, 3)) * tint
        radiance = radiance + lobe * wall * rng.uniform(-0.3, 1.6)
    radiance = np.maximum(radiance, 0.03)
    return ambient_from_environment(directions, radiance / radiance.mean())
