"""Light that points send to the viewer, as in `synth.render.lighting`, on arrays of points.

n, r, view, light: (P, 3) unit vectors. sh: (P, 9, 3).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

_WRAP = (0.26, 0.10, 0.06)
_CREASE_BLEED = (0.35, 0.08, 0.0)
_HAIR_WRAP = 0.35
_ROOT_SHIFT, _TIP_SHIFT = 0.10, 0.14
_GRAZING_CEILING, _EYE_HIGHLIGHT = 0.7, 0.7


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(P,)."""
    return (a * b).sum(dim=1)


def ambient(sh: Tensor, n: Tensor) -> Tensor:
    """Light (P, 3) from all around on a normal."""
    x, y, z = n.unbind(dim=1)
    one = torch.ones_like(x)
    basis = torch.stack([one, x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y], dim=1)
    return (sh * basis[..., None]).sum(dim=1).clamp(min=0)


def mirrored(sh: Tensor, r: Tensor) -> Tensor:
    """Coarse ambient light (P, 3) from a mirror direction."""
    return (sh[:, 0] + (sh[:, 1:4] * r[..., None]).sum(dim=1)).clamp(min=0)


def mirror_strength(specular: Tensor, roughness: Tensor, nv: Tensor) -> Tensor:
    """(P,) Fresnel reflectance; rough surfaces mirror less at grazing angles."""
    ceiling = (1 - roughness) ** 2 * _GRAZING_CEILING
    fresnel = specular + (ceiling - specular).clamp(min=0) * (1 - nv) ** 5
    return fresnel * (1 - 0.6 * roughness)


def crease_glow(light: Tensor, open_share: Tensor) -> Tensor:
    """Ambient light (P, 3) on skin with what bleeds into creases."""
    bleed = torch.tensor(_CREASE_BLEED, device=light.device)
    return light * (1 + bleed * (1 - open_share)[:, None])


def skin_diffuse(nl: Tensor, lit: Tensor) -> Tensor:
    """(P, 3) share of a light that skin scatters back."""
    wrap = torch.tensor(_WRAP, device=nl.device)
    wrapped = ((nl[:, None] + wrap) / (1 + wrap)).clamp(min=0)
    seep = torch.stack([0.6 * lit + 0.4 * lit * (2 - lit), lit, lit], dim=1)
    return wrapped * seep


def hair_lobes(
    tangent: Tensor, light: Tensor, view: Tensor, nl: Tensor, roughness: Tensor, specular: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Diffuse share, white and tinted highlight (P,) of strands."""
    along = dot(tangent, light)
    diffuse = (1 - along**2).clamp(min=0).sqrt()
    diffuse = diffuse * ((nl + _HAIR_WRAP) / (1 + _HAIR_WRAP)).clamp(min=0)
    half = dot(tangent, normalize(light + view, dim=1))
    white = 1 / (1 + ((half - _ROOT_SHIFT) / roughness) ** 2)
    tinted = 1 / (1 + ((half + _TIP_SHIFT) / (2 * roughness)) ** 2)
    facing = (nl + 0.25).clamp(min=0)
    return diffuse, white**2 * specular * facing, tinted**2 * 0.5 * facing


def highlight(
    n: Tensor, light: Tensor, view: Tensor, nl: Tensor, nv: Tensor, roughness: Tensor,
    specular: Tensor,
) -> Tensor:  # fmt: skip
    """(P,) GGX with Schlick's Fresnel; nl and nv positive."""
    half = normalize(light + view, dim=1)
    nh = dot(n, half).clamp(min=0)
    alpha2 = roughness**2
    spread = nh**2 * (alpha2 - 1) + 1
    visibility = 0.5 / (
        nl * (nv * (1 - roughness) + roughness) + nv * (nl * (1 - roughness) + roughness) + 1e-6
    )
    return _fresnel(specular, view, half) * alpha2 / spread**2 * visibility * nl


def catch_light(n: Tensor, light: Tensor, view: Tensor, radius: Tensor, specular: Tensor) -> Tensor:
    """(P,) a disc as large as the light, mirrored in the tear film."""
    half = normalize(light + view, dim=1)
    nh = dot(n, half).clamp(min=0)
    disc = (1.6 - (1 - nh**2) / (0.25 * radius**2)).clamp(0, 1)
    return _fresnel(specular, view, half) * disc * _EYE_HIGHLIGHT / radius**2


def _fresnel(specular: Tensor, view: Tensor, half: Tensor) -> Tensor:
    return specular + (1 - specular) * (1 - dot(view, half).clamp(min=0)) ** 5
