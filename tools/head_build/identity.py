"""Random people from the source's targets, and the linear shape model fitted to them."""

from __future__ import annotations

from itertools import product

import numpy as np
from head_build.source import Source
from head_build.topology import Topology
from numpy.typing import NDArray

Array = NDArray[np.float64]

HEAD_FOLDERS = (
    "head", "forehead", "eyebrows", "eyes", "nose", "cheek", "mouth", "chin", "ears", "neck",
)  # fmt: skip
RACES = ("african", "asian", "caucasian")
SAMPLES = 1500
SHAPES = 90
SEED = 20240411
LOCAL_SIGMA = 0.22
"""Standard deviation of a local slider; a slider's full range is 1 and looks like a caricature."""
SKULL_SIGMA = 0.09
ASYMMETRY_SIGMA = 0.05
LEFT_RIGHT_SIGMA = 0.04
"""How much a paired slider may differ between the sides."""
CHILD_SHARE = 0.08
SIGMA_SHRINK = 0.8
"""Principal components are gaussian, the samples' tails are not: keeps skulls from egg shapes."""
EXCLUDED = ("head-age", "neck-double", "head-trans", "neck-trans")
"""Sliders that move the whole head (pose, not shape) or leave human proportions."""


def sliders(source: Source) -> list[tuple[str, str]]:
    """(decrease, increase) pairs of target names; a lone target is paired with ""."""
    pairs = []
    for folder in HEAD_FOLDERS:
        names = [n.removeprefix(f"{folder}/") for n in source.target_names(f"{folder}/")]
        names = [n for n in names if not n.startswith(EXCLUDED)]
        for name in names:
            opposite = _opposite(name)
            if opposite in names:
                if name < opposite:
                    pairs.append((f"{folder}/{name}", f"{folder}/{opposite}"))
            else:
                pairs.append(("", f"{folder}/{name}"))
    return pairs


def _opposite(name: str) -> str:
    swaps = (
        ("-decr", "-incr"), ("-down", "-up"), ("-in", "-out"), ("-backward", "-forward"),
        ("-concave", "-convex"), ("-compress", "-uncompress"), ("-pointed", "-triangle"),
    )  # fmt: skip
    for a, b in swaps:
        if name.endswith(a):
            return name[: -len(a)] + b
        if name.endswith(b):
            return name[: -len(b)] + a
    return ""


def adult_mean(source: Source) -> Array:
    """(N, 3) the source's vertices for an even mix of sexes and ethnicities, young, symmetric."""
    shape = source.mesh[0].copy()
    for race, sex in product(RACES, ("female", "male")):
        shape += source.target(f"macrodetails/{race}-{sex}-young") / 6
    for sex in ("female", "male"):
        shape += (
            source.target(f"macrodetails/universal-{sex}-young-averagemuscle-averageweight") / 2
        )
    return 0.5 * (shape + shape[source.mirror] * [-1, 1, 1])


def macro_weights(rng: np.random.Generator) -> dict[str, float]:
    """Weights of the macro targets (sex, age, ethnicity, muscle, weight) of one random person."""
    male = float(np.clip(rng.choice([0.12, 0.88]) + rng.normal(0, 0.12), 0, 1))
    race = rng.dirichlet([0.5, 0.5, 0.5])
    if rng.random() < CHILD_SHARE:
        young = rng.uniform(0.35, 1)
        age = {"child": 1 - young, "young": young}
    else:
        old = rng.beta(1.1, 2.2)
        age = {"young": 1 - old, "old": old}
    muscle = _three(rng.normal(0, 0.45), "minmuscle", "averagemuscle", "maxmuscle")
    weight = _three(rng.normal(0, 0.5), "minweight", "averageweight", "maxweight")
    weights = {}
    for (sex, p), (years, q) in product({"male": male, "female": 1 - male}.items(), age.items()):
        for name, share in zip(RACES, race, strict=True):
            weights[f"macrodetails/{name}-{sex}-{years}"] = p * q * share
        for (m, a), (w, b) in product(muscle.items(), weight.items()):
            weights[f"macrodetails/universal-{sex}-{years}-{m}-{w}"] = p * q * a * b
    return weights


def _three(value: float, low: str, middle: str, high: str) -> dict[str, float]:
    value = float(np.clip(value, -1, 1))
    return {low: max(-value, 0.0), middle: 1 - abs(value), high: max(value, 0.0)}


def slider_values(pairs: list[tuple[str, str]], rng: np.random.Generator) -> Array:
    """Random slider positions in [-1, 1]; l-/r- pairs move together but for a little asymmetry."""
    values = rng.normal(0, LOCAL_SIGMA, len(pairs))
    names = [high for _, high in pairs]
    index = {name: k for k, name in enumerate(names)}
    for k, name in enumerate(names):
        if name.startswith(("head/", "forehead/")):
            values[k] *= SKULL_SIGMA / LOCAL_SIGMA
        partner = index.get(name.replace("/l-", "/r-")) if "/l-" in name else None
        if partner is not None:
            values[partner] = values[k] + rng.normal(0, LEFT_RIGHT_SIGMA)
        if not pairs[k][0]:
            values[k] = abs(values[k])
    return np.clip(values, -1, 1)


def sample_people(source: Source, topology: Topology, count: int = SAMPLES) -> Array:
    """(count, V, 3) vertices of random people, not aligned; symmetric but for the sliders' draw."""
    rng = np.random.default_rng(SEED)
    pairs = sliders(source)
    asymmetric = source.target_names("asym/asym-")
    table: dict[str, Array] = {}

    def displacement(name: str) -> Array:
        if name not in table:
            table[name] = topology.vertices(source.target(name))
            source.cache.pop(name)
        return table[name]

    base = topology.vertices(source.mesh[0])
    people = np.empty((count, *base.shape))
    for person in people:
        person[:] = base
        for name, weight in macro_weights(rng).items():
            if weight > 0:
                person += weight * displacement(name)
        for (low, high), value in zip(pairs, slider_values(pairs, rng), strict=True):
            name = high if value > 0 else low
            if name:
                person += abs(value) * displacement(name)
        for name in asymmetric:
            person += abs(rng.normal(0, ASYMMETRY_SIGMA)) * displacement(name)
    return people


def principal_components(people: Array, used: NDArray[np.integer]) -> Array:
    """(V, 3, S) displacement per standard deviation of aligned people (P, V, 3).

    The components are those of the vertices `used`; all vertices follow by regression.
    """
    count = len(people)
    centred = (people - people.mean(axis=0)).reshape(count, -1)
    part = (people[:, used] - people[:, used].mean(axis=0)).reshape(count, -1)
    gram = part @ part.T / count
    values, vectors = np.linalg.eigh(gram)
    scores = vectors[:, ::-1][:, :SHAPES] * np.sqrt(count)
    for kept in (20, 50, SHAPES):
        print(
            f"{kept} components hold {values[::-1][:kept].sum() / values.sum():.2%} of the variance"
        )
    basis = centred.T @ scores / count
    signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(SHAPES)])
    return (basis * signs * SIGMA_SHRINK).reshape(*people.shape[1:], SHAPES)
