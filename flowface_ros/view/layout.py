"""What is where on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowface_ros.view.eye import Eye
from flowface_ros.view.scene import TIME
from flowface_ros.view.sdk import load_sdk

_LIVE_SPAN_S = 15.0
"""How much of the past the curves of a live view show."""
_ROWS = (5, 2)
"""Heights of pictures and 3D, and of the curves."""
_IMAGES_WIDTH = 0.75
"""Share of the width that an image as high as the upper row takes."""
_TWO_COLUMNS = 4
"""From so many cameras on there are two columns of images."""


def layout(cameras: Sequence[str], live: bool, eye: Eye | None = None) -> Any:
    """A blueprint: images at the left, 3D at the right, curves below.

    live: follow the newest data; else play in a loop. eye: of the 3D view; None lets the viewer
    choose.
    """
    rerun = load_sdk()
    rrb = rerun.blueprint
    panel = rrb.TimePanel(
        timeline=TIME, state="collapsed",
        **({"play_state": "following"} if live else {"play_state": "playing", "loop_mode": "all"}),
    )  # fmt: skip
    top = [_images(rrb, cameras)] if cameras else []
    top.append(
        rrb.Spatial3DView(
            origin="/rig",
            name="Rig",
            contents=["+ $origin/**", *(f"- /rig/{_part(name)}/heads/**" for name in cameras)],
            eye_controls=None if eye is None else _eye_controls(rrb, eye),
        )
    )
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(*top, column_shares=_columns(len(cameras))),
            _curves(rrb, live),
            row_shares=_ROWS,
        ),
        panel,
        collapse_panels=True,
    )


def _eye_controls(rrb: Any, eye: Eye) -> Any:
    return rrb.EyeControls3D(
        kind=rrb.Eye3DKind.Orbital, position=eye.position, look_target=eye.target, eye_up=eye.up
    )


def _columns(cameras: int) -> list[float]:
    """Widths of images and 3D: one image below the other should fill their column."""
    if not cameras:
        return [1.0]
    columns = 2 if cameras >= _TWO_COLUMNS else 1
    rows = -(-cameras // columns)
    share = min(_IMAGES_WIDTH * columns / rows, 0.5)
    return [share, 1.0 - share]


def _images(rrb: Any, cameras: Sequence[str]) -> Any:
    views = [rrb.Spatial2DView(origin=f"/rig/{_part(name)}", name=name) for name in cameras]
    columns = 2 if len(views) >= _TWO_COLUMNS else 1
    return rrb.Grid(*views, grid_columns=columns)


def _curves(rrb: Any, live: bool) -> Any:
    def plot(entity: str, name: str, **options: Any) -> Any:
        return rrb.TimeSeriesView(
            origin=f"/plots/{entity}", name=name, time_ranges=_time_ranges(live), **options
        )

    weights = rrb.ScalarAxis(range=(0.0, 1.0))
    hidden, right = rrb.PlotLegend(visible=False), rrb.PlotLegend("RightTop")
    return rrb.Horizontal(
        rrb.Tabs(
            plot("main", "Expression (ARKit)", axis_y=weights, plot_legend=right),
            plot("eyes", "All of eyes and brows", axis_y=weights, plot_legend=hidden),
            plot("mouth", "All of the mouth", axis_y=weights, plot_legend=hidden),
        ),
        rrb.Tabs(
            plot("rotation", "Rotation (degrees)", plot_legend=right),
            plot("position", "Position (m)", plot_legend=right),
        ),
        rrb.Tabs(
            plot("reprojection", "Reprojection error (px)", plot_legend=right),
            plot("confidence", "Confidence", axis_y=weights, plot_legend=right),
        ),
        column_shares=[2, 1, 1],
    )


def _time_ranges(live: bool) -> Any:
    if not live:
        return None
    rerun = load_sdk()
    boundary = rerun.TimeRangeBoundary
    return [
        rerun.VisibleTimeRange(
            TIME,
            start=boundary.cursor_relative(seconds=-_LIVE_SPAN_S),
            end=boundary.cursor_relative(),
        )
    ]


def _part(name: str) -> str:
    return load_sdk().escape_entity_path_part(name)
