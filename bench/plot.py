"""Line plots as SVG, written by hand: a few panels over the same days, one line a series."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_COLOURS = ("#1f5fa8", "#c8501e", "#2e8b57", "#7a4fa3")
_WIDTH, _PANEL_HEIGHT = 860, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 34, 30
_TICKS = 4
_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10)
_DAY_STEP = 30


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: a title, and by series a value a day, None where there is nothing to show."""

    title: str
    lines: Mapping[str, Sequence[float | None]]


def svg_plot(title: str, panels: Sequence[Panel]) -> str:
    """Return the panels, one below the other, as an SVG text."""
    height = 60 + len(panels) * (_PANEL_HEIGHT + _TOP + _BOTTOM)
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        _text(_LEFT, 24, title, size=15),
    ]
    for number, name in enumerate(names):
        x, colour = _LEFT + number * 190, _COLOURS[number % len(_COLOURS)]
        parts.append(f'<path d="M{x} 42h24" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(x + 30, 46, name))
    for number, panel in enumerate(panels):
        top = 60 + number * (_PANEL_HEIGHT + _TOP + _BOTTOM) + _TOP
        parts += _panel(panel, names, top)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, names: Sequence[str], top: int) -> list[str]:
    days = max(len(values) for values in panel.lines.values())
    shown = [value for values in panel.lines.values() for value in values if value is not None]
    step = _tick_step(max(shown, default=0))
    ceiling = step * _TICKS
    right, bottom = _WIDTH - _RIGHT, top + _PANEL_HEIGHT

    def place(day: int, value: float) -> str:
        x = _LEFT + (right - _LEFT) * day / max(1, days - 1)
        return f"{x:.1f},{bottom - _PANEL_HEIGHT * value / ceiling:.1f}"

    parts = [_text(_LEFT, top - 10, panel.title, size=13)]
    for tick in range(_TICKS + 1):
        y = bottom - _PANEL_HEIGHT * tick / _TICKS
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{tick * step:g}", anchor="end"))
    for day in range(0, days, _DAY_STEP):
        x = float(place(day, 0).split(",")[0])
        parts.append(_text(x, bottom + 18, f"day {day}" if day == 0 else str(day), anchor="middle"))
    for name, values in panel.lines.items():
        points = " ".join(place(d, v) for d, v in enumerate(values) if v is not None)
        colour = _COLOURS[names.index(name) % len(_COLOURS)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    return parts


def _tick_step(largest: float) -> float:
    """Return a round step so that `_TICKS` of them reach ``largest``."""
    if largest <= 0:
        return 1.0
    power = math.pow(10, math.floor(math.log10(largest / _TICKS)))
    return next(step * power for step in _STEPS if step * power * _TICKS >= largest)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
    )
