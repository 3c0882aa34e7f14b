"""The regression behind `learn_shape_prior.py`, how views add up, and its ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowface_ros.fit.shape_prior_features import FEATURES, RESIDUALS, TOWARD
from flowface_ros.head.model import HeadModel
from flowface_ros.head.model_file import load_builtin_head

Array = NDArray[np.float64]

_COMPONENTS, _TURNING = 120, 20
"""Principal components of the residuals; those of them whose effect depends on the view's angle."""
_RIDGE = 0.1
_CLIP = 4.0
"""Standard deviations beyond which a regressor is held: real faces may lie outside."""
_POWERS = ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (3, 0), (2, 1))
"""Polynomials of the view's direction; the first four also multiply the components."""
_CROSSED = 4
_SYNTHETIC_VARIANCE = 0.8**2
"""Of the coefficients of the people that are drawn; the head's own is 1."""


@dataclass(frozen=True, eq=False)
class ShapeRegression:
    """Ridge regression on principal components, their products with the view's direction, and the
    direction itself; see `regressors`."""

    residual_mean: Array
    components: Array
    mean: Array
    deviation: Array
    weights: Array

    def answers(self, features: Array) -> Array:
        """(F, S) shape coefficients of single views."""
        held = (regressors(self, features) - self.mean) / self.deviation
        return np.asarray(np.clip(held, -_CLIP, _CLIP) @ self.weights, np.float64)


def regressors(parts: ShapeRegression, features: Array) -> Array:
    """(F, K) of features (F, FEATURES)."""
    components = (features[:, :RESIDUALS] - parts.residual_mean) @ parts.components
    x, y = features[:, TOWARD].T
    powers = np.stack([x**a * y**b for a, b in _POWERS], axis=1)
    crossed = [components[:, :_TURNING] * powers[:, i : i + 1] for i in range(_CROSSED)]
    rest = features[:, TOWARD.stop :]
    return np.concatenate([components, powers, rest, *crossed], axis=1)


def learn(features: Array, shape: Array, person: NDArray[np.int64]) -> ShapeRegression:
    """Everybody counts the same, however many views there are."""
    _, which, count = np.unique(person, return_inverse=True, return_counts=True)
    weight = 1 / count[which]
    weight /= weight.sum()
    residuals = features[:, :RESIDUALS]
    middle = weight @ residuals
    centred = residuals - middle
    _, vectors = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    empty = np.zeros(0)
    parts = ShapeRegression(middle, vectors[:, ::-1][:, :_COMPONENTS], empty, empty, empty)
    columns = regressors(parts, features)
    mean = weight @ columns
    deviation = np.asarray(np.sqrt(weight @ (columns - mean) ** 2) + 1e-9, np.float64)
    held = np.clip((columns - mean) / deviation, -_CLIP, _CLIP)
    weighted = held * weight[:, None]
    normal = weighted.T @ held + _RIDGE * np.eye(held.shape[1])
    weights = np.asarray(np.linalg.solve(normal, weighted.T @ shape), np.float64)
    return ShapeRegression(middle, parts.components, mean, deviation, weights)


def fusion_of(answers: Array, shape: Array, person: NDArray[np.int64]) -> dict[str, Array]:
    """Second moments (S,) of answers (F, S) to people that were not learned from.

    covariance: of the answer with the truth. between, within: variance of a person's mean answer
    over people, and of the answers of one person. spread: of the truth.
    """
    people, which, count = np.unique(person, return_inverse=True, return_counts=True)
    sums = np.zeros((len(people), answers.shape[1]))
    np.add.at(sums, which, answers)
    means = sums / count[:, None]
    several = count[which] > 1
    rest = (answers - means[which])[several]
    within = (rest**2).sum(axis=0) / (count[count > 1] - 1).sum()
    truth = np.zeros_like(means)
    truth[which] = shape
    between = np.maximum((means**2).mean(axis=0) - within * (1 / count).mean(), 1e-4)
    covariance = np.maximum((truth * means).mean(axis=0), 0.0)
    # A correlation above 1 would be chance.
    covariance = np.minimum(covariance, 0.95 * np.sqrt(between * _SYNTHETIC_VARIANCE))
    spread = np.full_like(within, _SYNTHETIC_VARIANCE)
    return {"covariance": covariance, "between": between, "within": within, "spread": spread}


def fuse(answers: Array, fusion: dict[str, Array]) -> tuple[Array, Array]:
    """Mean and variance (S,) of a synthetic person's shape, from answers (N, S) of N views."""
    total = fusion["between"] + fusion["within"] / len(answers)
    gain = fusion["covariance"] / total
    return gain * answers.mean(axis=0), fusion["spread"] - gain * fusion["covariance"]


def errors_mm(differences: Array) -> Array:
    """Rms over the face's vertices (F,) that differences of shapes (F, S) make."""
    model = load_builtin_head()
    basis = model.shape_basis[model.vertex_groups["face"]].astype(np.float64)
    gram = np.einsum("vis,vit->st", basis, basis) / len(basis)
    return 1e3 * np.sqrt(np.einsum("fs,st,ft->f", differences, gram, differences))


def write_onnx(
    path: Path,
    network: ShapeRegression,
    fusion: dict[str, Array],
    model: HeadModel,
    provenance: dict[str, int],
) -> None:
    """Input `features` (N, FEATURES); outputs `shape` (N, S), and those of `fusion_of` (S,)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: dict[str, NDArray] = {}

    def constant(name: str, value: ArrayLike, kind: type = np.float32) -> str:
        constants[name] = np.asarray(value, kind)
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def columns(source: str, start: int, stop: int, output: str) -> str:
        bounds = [constant(f"{output}_{n}", [v], np.int64) for n, v in
                  (("start", start), ("stop", stop), ("axis", 1))]  # fmt: skip
        return node("Slice", [source, *bounds], output)

    residuals = columns("features", 0, RESIDUALS, "residuals")
    centred = node("Sub", [residuals, constant("residual_mean", network.residual_mean)], "centred")
    components = node("MatMul", [centred, constant("basis", network.components)], "components")
    axes = [columns("features", TOWARD.start + i, TOWARD.start + i + 1, n) for i, n in
            enumerate(("x", "y"))]  # fmt: skip
    powers = []
    for row, (a, b) in enumerate(_POWERS):
        product = ([axes[0]] * a) + ([axes[1]] * b)
        name = product[0]
        for i, factor in enumerate(product[1:]):
            name = node("Mul", [name, factor], f"power_{row}_{i}")
        powers.append(name)
    rest = columns("features", TOWARD.stop, FEATURES, "rest")
    first = columns(components, 0, _TURNING, "first_components")
    crossed = [node("Mul", [first, powers[i]], f"crossed_{i}") for i in range(_CROSSED)]
    joined = node("Concat", [components, *powers, rest, *crossed], "regressors", axis=1)
    shifted = node("Sub", [joined, constant("mean", network.mean)], "shifted")
    scaled = node("Div", [shifted, constant("deviation", network.deviation)], "scaled")
    held = node("Clip", [scaled, constant("low", -_CLIP), constant("high", _CLIP)], "held")
    node("MatMul", [held, constant("weights", network.weights)], "shape")
    size = model.shape_count
    outputs = [helper.make_tensor_value_info("shape", TensorProto.FLOAT, ["n", size])]
    for name, value in fusion.items():
        node("Identity", [constant(f"{name}_values", value)], name)
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]))
    graph = helper.make_graph(
        nodes,
        "shape_prior",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", FEATURES])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata = {"flowface.model_hash": f"{model.model_hash:016x}"}
    metadata |= {f"flowface.{name}": str(value) for name, value in provenance.items()}
    helper.set_model_props(made, metadata)
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())
