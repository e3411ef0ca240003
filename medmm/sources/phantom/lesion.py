"""A picture of a lesion in one of five forms, among everything about a picture that means nothing.

Place, size, rotation, elongation, polarity (darker or lighter than its surroundings), contrast, texture, shading,
noise, blur and small dots are drawn before the form and without regard to it; every form covers the same area.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from medmm.sources.phantom.anatomy import smooth_noise
from medmm.types import AnyArray, FloatArray

_EDGE = 1.5  # pixels over which a border is soft


class Lesion(NamedTuple):
    """A picture: (rows, columns) uint8 grey values, and the bool mask of the lesion in it."""

    grey: AnyArray
    mask: AnyArray


class _Setting(NamedTuple):
    """What means nothing.

    Attributes:
        radius: Pixels of a disc of the lesion's area.
        x, y: (rows, columns) place of each pixel from the lesion's centre along its axes, in such radii.
        surroundings: (rows, columns) grey values without the lesion.
        change: Grey values by which the lesion differs.
        noise, blur: Standard deviations in grey values and in pixels.
    """

    radius: float
    x: FloatArray
    y: FloatArray
    surroundings: FloatArray
    change: float
    noise: FloatArray
    blur: float


def draw_lesion(rng: np.random.Generator, *, form: int, side: int = 96) -> Lesion:
    """Draw one picture.

    Args:
        rng: Source of every random choice.
        form: Index into `FORMS`.
        side: Pixels along each side.
    """
    setting = _draw_setting(rng, side)
    cover = np.clip(_BORDERS[form](rng, setting.x, setting.y) * setting.radius / _EDGE + 0.5, 0, 1)
    drawn = gaussian_filter(setting.surroundings + setting.change * cover, setting.blur) + setting.noise
    return Lesion(np.asarray(np.clip(np.rint(drawn), 0, 255), dtype=np.uint8), np.asarray(cover > 0.5))


def _draw_setting(rng: np.random.Generator, side: int) -> _Setting:
    radius = rng.uniform(0.12, 0.18) * side
    centre = rng.uniform(0.32, 0.68, 2) * side
    turn, ratio = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.0)
    columns, rows = np.meshgrid(np.arange(side, dtype=float), np.arange(side, dtype=float))
    x, y = (columns - centre[0]) / radius, (rows - centre[1]) / radius
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    slope = rng.uniform(-0.35, 0.35, 2)
    surroundings = rng.uniform(95, 160) + slope[0] * (columns - side / 2) + slope[1] * (rows - side / 2)
    surroundings += smooth_noise((side, side), rng, coarse=8) * rng.uniform(4, 10)
    for _ in range(int(rng.integers(0, 4))):
        at, wide = rng.uniform(0, side, 2), rng.uniform(0.012, 0.025) * side
        dot = np.exp(-0.5 * ((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / wide**2)
        surroundings += rng.choice([-1, 1]) * rng.uniform(25, 60) * dot
    change = rng.choice([-1, 1]) * rng.uniform(35, 75)
    noise = rng.normal(size=(side, side)) * rng.uniform(4, 12)
    return _Setting(
        radius, along * np.sqrt(ratio), across / np.sqrt(ratio), surroundings, float(change), noise, float(rng.uniform(0.4, 1.0))
    )


_Border = Callable[[np.random.Generator, FloatArray, FloatArray], FloatArray]
"""Signed distance to the border, above 0 inside, in radii of a disc of the same area."""


def _smooth(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    del rng
    inside: FloatArray = 1 - np.hypot(x, y)
    return inside


def _lobed(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    lobes = int(rng.integers(4, 7))
    return _star(x, y, lambda angle: 1 + 0.25 * np.cos(lobes * angle))


def _spiked(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    spikes = int(rng.integers(8, 12))
    return _star(x, y, lambda angle: 1 + 1.1 * np.abs(np.cos(spikes * angle / 2)) ** 6)


def _hollow(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    outer = rng.uniform(1.15, 1.25)
    inner = np.sqrt(outer**2 - 1)
    inside: FloatArray = (outer - inner) / 2 - np.abs(np.hypot(x, y) - (outer + inner) / 2)
    return inside


def _scattered(rng: np.random.Generator, x: FloatArray, y: FloatArray) -> FloatArray:
    parts = int(rng.integers(4, 7))
    angles = 2 * np.pi * (np.arange(parts) + rng.uniform(-0.15, 0.15, parts)) / parts
    reach = rng.uniform(1.0, 1.25, parts)
    each = [np.hypot(x - r * np.cos(a), y - r * np.sin(a)) for r, a in zip(reach, angles, strict=True)]
    inside: FloatArray = 1 / np.sqrt(parts) - np.min(each, axis=0)
    return inside


def _star(x: FloatArray, y: FloatArray, border: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """A border given by its distance in every direction, brought to the area of a disc of radius 1."""
    size = np.sqrt((border(np.linspace(0, 2 * np.pi, 2000, endpoint=False)) ** 2).mean())
    inside: FloatArray = border(np.arctan2(y, x)) / size - np.hypot(x, y)
    return inside


_BORDERS: tuple[_Border, ...] = (_smooth, _lobed, _spiked, _hollow, _scattered)
FORMS = ("smooth", "lobed", "spiked", "hollow", "scattered")
