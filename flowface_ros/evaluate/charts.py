"""Small charts as SVG text, for reports without scripts or other files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from flowface_ros.evaluate.report_parts import number

COLORS = ("#1f6fb2", "#d1690b", "#2a8a3e", "#b0304a", "#6b4ba1", "#777777", "#0f8f8f", "#a07a00")

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 42
_BAR_HEIGHT, _BAR_LEFT, _BAR_VALUE = 18, 150, 60
_TICKS = 6
_LEAST_SPAN = 1e-9
"""Relative range of values that counts as none."""


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart. x, y: (N,); NaN leaves a gap. dashed: for what is only compared with."""

    name: str
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    dashed: bool = False


def line_chart(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """A figure element with an SVG and a legend; y begins at 0. Empty text when no line has a
    finite point."""
    parts = _line_parts(lines, x_label, y_label)
    if not parts:
        return ""
    legend = "".join(
        f'<span><i style="background:{COLORS[row % len(COLORS)]}"></i>{escape(line.name)}</span>'
        for row, line in enumerate(lines)
    )
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{parts}</svg>'
    return f'<figure>{svg}<figcaption class="legend">{legend}</figcaption></figure>'


def standalone_line_chart(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """The chart as an SVG file on white, with the legend inside."""
    rows = []
    for row, line in enumerate(lines):
        y = _HEIGHT + 4 + row * _BAR_HEIGHT
        color = COLORS[row % len(COLORS)]
        rows.append(
            f'<rect x="{_LEFT}" y="{y}" width="14" height="4" fill="{color}"/>'
            f'<text x="{_LEFT + 20}" y="{y + 6}">{escape(line.name)}</text>'
        )
    height = _HEIGHT + 8 + len(lines) * _BAR_HEIGHT
    style = "text{font:11px sans-serif;fill:#444}.grid{stroke:#ddd}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}"><style>{style}</style>'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
        f"{_line_parts(lines, x_label, y_label)}{''.join(rows)}</svg>\n"
    )


def _line_parts(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    points = [np.column_stack([line.x, line.y]) for line in lines]
    finite = np.concatenate([p[np.isfinite(p).all(axis=1)] for p in points] or [np.zeros((0, 2))])
    if not len(finite):
        return ""
    x_ticks = ticks(float(finite[:, 0].min()), float(finite[:, 0].max()))
    y_ticks = ticks(0.0, float(finite[:, 1].max()))
    low = np.array([x_ticks[0], y_ticks[0]])
    span = np.array([x_ticks[-1], y_ticks[-1]]) - low
    size = np.array([_WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM])

    def place(values: NDArray) -> NDArray:
        share = (values - low) / span
        return np.array([_LEFT, _HEIGHT - _BOTTOM]) + share * size * (1, -1)

    parts = [_axes(x_ticks, y_ticks, place, x_label, y_label)]
    for row, (line, values) in enumerate(zip(lines, points, strict=True)):
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(
            f'<path d="{_path(place(values))}" fill="none" stroke="{COLORS[row % len(COLORS)]}" '
            f'stroke-width="1.6"{dash}><title>{escape(line.name)}</title></path>'
        )
    return "".join(parts)


def bar_chart(labels: Sequence[str], values: Sequence[float], unit: str) -> str:
    """Horizontal bars, one to a label, as an SVG element; not finite values have none."""
    finite = [value for value in values if np.isfinite(value)]
    longest = max(finite, default=0.0) or 1.0
    height = _BAR_HEIGHT * len(labels) + 6
    scale = (_WIDTH - _BAR_LEFT - _BAR_VALUE) / longest
    rows = []
    for row, (label, value) in enumerate(zip(labels, values, strict=True)):
        y = 3 + row * _BAR_HEIGHT
        length = value * scale if np.isfinite(value) else 0.0
        text = escape(number(value, unit))
        rows.append(
            f'<text x="{_BAR_LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(label)}</text>'
            f'<rect x="{_BAR_LEFT}" y="{y + 2}" width="{length:.1f}" height="{_BAR_HEIGHT - 5}" '
            f'fill="{COLORS[0]}"/><text x="{_BAR_LEFT + length + 5:.1f}" y="{y + 13}">{text}</text>'
        )
    return f'<figure><svg viewBox="0 0 {_WIDTH} {height}" role="img">{"".join(rows)}</svg></figure>'


def ticks(low: float, high: float) -> NDArray[np.float64]:
    """Round numbers, at most some six steps apart, from at or below low to at or above high."""
    span = high - low
    if not span > _LEAST_SPAN * max(abs(low), abs(high), 1.0):
        span = max(abs(high), 1.0)
        high = low + span
    raw = span / _TICKS
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return np.arange(first, last + 1) * step


def _axes(
    x_ticks: NDArray,
    y_ticks: NDArray,
    place: Callable[[NDArray], NDArray],
    x_label: str,
    y_label: str,
) -> str:
    parts = []
    for x in x_ticks:
        px, py = place(np.array([x, y_ticks[0]]))
        parts.append(f'<text x="{px:.1f}" y="{py + 16:.1f}" text-anchor="middle">{x:g}</text>')
    for y in y_ticks:
        px, py = place(np.array([x_ticks[0], y]))
        parts.append(
            f'<line x1="{px:.1f}" y1="{py:.1f}" x2="{_WIDTH - _RIGHT}" y2="{py:.1f}" '
            f'class="grid"/><text x="{px - 6:.1f}" y="{py + 4:.1f}" text-anchor="end">{y:g}</text>'
        )
    middle_x, middle_y = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="{middle_x}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text x="14" y="{middle_y}" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle_y})">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _path(places: NDArray) -> str:
    """SVG path data of points (N, 2), broken where one is not finite."""
    commands, pen_down = [], False
    for x, y in places:
        known = bool(np.isfinite(x) and np.isfinite(y))
        if known:
            commands.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}")
        pen_down = known
    return "".join(commands)
