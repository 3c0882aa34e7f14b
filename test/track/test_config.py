from __future__ import annotations

import ast
import inspect

import pytest

from flowface_ros.track import config
from flowface_ros.track.config import TrackerConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_faces", 0),
        ("confirm_sets", 0),
        ("id_prefix", ""),
        ("id_prefix", "1p"),
        ("id_prefix", "left/p"),
        ("coast_time_s", -0.1),
        ("min_presence", 1.5),
        ("clear_detection", 1.1),
        ("coast_time_s", float("inf")),
        ("search_interval_s", float("inf")),
        ("search_interval_s", -1.0),
        ("detection_interval_s", float("nan")),
        ("max_view_angle_deg", 0.0),
        ("min_distance_m", 0.0),
        ("max_distance_m", 0.05),
        ("max_points", 10),
        ("keyframe_interval_s", -1.0),
    ],
)
def test_bad_values_are_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{field} is {value!r}, must be"):
        TrackerConfig(**{field: value})


def test_every_field_is_described() -> None:
    (made,) = (n for n in ast.parse(inspect.getsource(config)).body if isinstance(n, ast.ClassDef))
    body = made.body[1:]
    fields = [i for i, node in enumerate(body) if isinstance(node, ast.AnnAssign)]
    assert len(fields) == len(TrackerConfig.__dataclass_fields__)
    for i in fields:
        text = body[i + 1]
        assert isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)


def test_shape_prior_is_one_of_those_there_are() -> None:
    assert TrackerConfig().shape_prior == "none"
    with pytest.raises(ValueError, match="shape_prior is 'magic', must be one of none, network"):
        TrackerConfig(shape_prior="magic")
