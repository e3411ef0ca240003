"""A CT-like chest: body, fat, lungs with vessels, heart, spine, ribs, liver, and perhaps a mass in a lung.

Shapes are soft-edged ellipsoids in millimetres, so a voxel on a border mixes both tissues as a
scanner's does. The image finding is the mass; small calcified granulomas and dependent
atelectasis occur with and without it and mean nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from medmm.geometry import Grid
from medmm.types import AnyArray, FloatArray

AIR, LUNG, FAT, MUSCLE, BLOOD, LIVER, BONE = -1000.0, -860.0, -105.0, 48.0, 42.0, 62.0, 480.0


class Chest(NamedTuple):
    """A phantom image: (I, J, K) int16 HU, its grid, and the (I, J, K) mask of the mass (all False when absent)."""

    hu: AnyArray
    grid: Grid
    mask: AnyArray


def draw_chest(rng: np.random.Generator, *, mass: bool, matrix: int = 96) -> Chest:
    """Draw one chest.

    Args:
        rng: Source of every random choice.
        mass: Whether the image finding is present.
        matrix: Pixels along each side of a slice; the slice spacing (5 to 9 mm) and the number of
            slices vary by patient.
    """
    size = rng.uniform(0.92, 1.08)
    field = rng.uniform(370, 410) * size
    height = rng.uniform(250, 300) * size
    thickness = float(rng.choice([5.0, 6.0, 7.0, 8.0, 9.0]))
    shape = (matrix, matrix, int(height / thickness))
    spacing = (field / matrix, field / matrix, thickness)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])  # columns to Left, rows to Posterior: axial as scanned
    offset = rng.uniform(-8, 8, 3)
    affine[:3, 3] = np.array([field / 2, field / 2, -height / 2]) + offset
    grid = Grid(shape, affine)
    axes = [affine[a, a] * np.arange(shape[a]) + affine[a, 3] - offset[a] for a in range(3)]
    x, y, z = np.meshgrid(*(a.astype(np.float32) for a in axes), indexing="ij", sparse=True)

    hu = np.full(shape, AIR, dtype=np.float32)
    fat = rng.uniform(8, 26)
    body = (170 * size, 115 * size)
    _paint(hu, _tube(x, y, (0, 0), body), FAT)
    _paint(hu, _tube(x, y, (0, 0), (body[0] - fat, body[1] - fat)), MUSCLE)
    _draw_ribs(hu, (x, y, z), (body[0] - fat, body[1] - fat), rng)
    lungs = _draw_lungs(hu, (x, y, z), size, rng)
    _paint(hu, _ball((x, y, z), (-18 * size, 30 * size, -35 * size), (52 * size, 45 * size, 55 * size)), BLOOD)
    _paint(hu, _ball((x, y, z), (60 * size, 0, -height * 0.62), (110 * size, 95 * size, 90 * size)), LIVER)
    _draw_spine(hu, (x, y, z), size, rng)
    _draw_distractors(hu, (x, y, z), lungs, rng)
    mask = np.zeros(shape, dtype=bool)
    if mass:
        mask = _draw_mass(hu, (x, y, z), lungs, rng)
    return Chest(_scan(hu, rng), grid, mask)


class _Lungs(NamedTuple):
    centres: tuple[tuple[float, float, float], ...]
    radii: tuple[float, float, float]


_Axes = tuple[FloatArray, FloatArray, FloatArray]


def _paint(hu: FloatArray, cover: FloatArray, value: float) -> None:
    """Mix `value` into the image where `cover` (0 to 1) says so."""
    hu += cover * (value - hu)


def _ball(axes: _Axes, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> FloatArray:
    """Soft-edged ellipsoid: 1 inside, 0 outside, a ramp of about 4 mm between."""
    x, y, z = axes
    r = np.sqrt(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2)
    cover: FloatArray = np.clip((1 - r) * min(radii) / 4 + 0.5, 0, 1)
    return cover


def _tube(x: FloatArray, y: FloatArray, centre: tuple[float, float], radii: tuple[float, float]) -> FloatArray:
    """Soft-edged elliptic cylinder along z."""
    r = ((np.abs(x - centre[0]) / radii[0]) ** 2.4 + (np.abs(y - centre[1]) / radii[1]) ** 2.4) ** (1 / 2.4)
    cover: FloatArray = np.clip((1 - r) * min(radii) / 4 + 0.5, 0, 1)
    return cover


def _draw_ribs(hu: FloatArray, axes: _Axes, chest: tuple[float, float], rng: np.random.Generator) -> None:
    x, y, z = axes
    wall = _tube(x, y, (0, 0), (chest[0] - 4, chest[1] - 4)) - _tube(x, y, (0, 0), (chest[0] - 12, chest[1] - 12))
    period, phase = rng.uniform(26, 32), rng.uniform(0, 30)
    slanted = z + 0.35 * y + phase  # ribs fall towards the front
    bars = np.clip((np.cos(2 * np.pi * slanted / period) - 0.35) * 3, 0, 1)
    _paint(hu, np.clip(wall, 0, 1) * bars, BONE)


def _draw_lungs(hu: FloatArray, axes: _Axes, size: float, rng: np.random.Generator) -> _Lungs:
    radii = (rng.uniform(56, 64) * size, rng.uniform(76, 84) * size, rng.uniform(105, 120) * size)
    centres = tuple((side * 76 * size, 2 * size, 12 * size) for side in (-1.0, 1.0))
    texture = smooth_noise(hu.shape, rng, coarse=6) * 35
    for centre in centres:
        cover = _ball(axes, centre, radii)
        hu += cover * (LUNG + texture - hu)
        _draw_vessels(hu, axes, centre, radii, rng)
    return _Lungs(centres, radii)


def _draw_vessels(
    hu: FloatArray, axes: _Axes, centre: tuple[float, float, float], radii: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Branches from the hilum outwards, one voxel thick at this resolution."""
    branches, steps = 14, 60
    hilum = np.array([centre[0] * 0.45, centre[1], centre[2] - 10])
    directions = rng.normal(size=(branches, 3))
    directions[:, 0] = np.abs(directions[:, 0]) * np.sign(centre[0])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    reach = np.linspace(0, 1, steps)[None, :, None]
    bend = rng.normal(scale=14, size=(branches, 1, 3))
    points = hilum + directions[:, None, :] * reach * np.array(radii) * 1.2 + bend * reach**2
    inside = (((points - centre) / (np.array(radii) * 0.95)) ** 2).sum(-1) < 1
    index = [_nearest(axis.ravel(), points[..., a][inside]) for a, axis in enumerate(axes)]
    strength = np.broadcast_to(1 - 0.75 * reach[..., 0], inside.shape)[inside]
    hu[tuple(index)] += strength * (BLOOD - hu[tuple(index)]) * 0.8


def _nearest(axis: FloatArray, values: FloatArray) -> AnyArray:
    position = (values - axis[0]) / (axis[1] - axis[0])
    return np.asarray(np.clip(np.rint(position), 0, len(axis) - 1), dtype=int)


def _draw_spine(hu: FloatArray, axes: _Axes, size: float, rng: np.random.Generator) -> None:
    x, y, z = axes
    centre = (0.0, -72 * size)
    column = _tube(x, y, centre, (19 * size, 17 * size))
    discs = np.clip(np.cos(2 * np.pi * (z + rng.uniform(0, 30)) / 31) * 4 - 2.6, 0, 1)
    _paint(hu, column * (1 - discs), rng.uniform(190, 330))
    _paint(hu, _tube(x, y, (0, -95 * size), (8 * size, 7 * size)), 30.0)  # canal
    _paint(hu, _tube(x, y, (-16 * size, -44 * size), (12 * size, 12 * size)), 140.0)  # aorta, contrast-filled


def _draw_distractors(hu: FloatArray, axes: _Axes, lungs: _Lungs, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:
        radius = rng.uniform(3.5, 5)
        _paint(hu, _ball(axes, _place(lungs, rng, 0.75), (radius, radius, radius)), rng.uniform(350, 700))
    if rng.random() < 0.4:
        side = int(rng.integers(2))
        (cx, cy, cz), (rx, ry, rz) = lungs.centres[side], lungs.radii
        band = _ball(axes, (cx, cy - 0.8 * ry, cz - 0.35 * rz), (0.55 * rx, 0.16 * ry, 0.5 * rz))
        _paint(hu, band * 0.55, -250.0)


def _draw_mass(hu: FloatArray, axes: _Axes, lungs: _Lungs, rng: np.random.Generator) -> AnyArray:
    centre = _place(lungs, rng, 0.5)
    mean = rng.uniform(16, 25)
    radii = tuple(mean * rng.uniform(0.85, 1.15, 3))
    cover = _ball(axes, centre, (radii[0], radii[1], radii[2]))
    _paint(hu, cover, rng.uniform(15, 65))
    return np.asarray(cover > 0.5)


def _place(lungs: _Lungs, rng: np.random.Generator, reach: float) -> tuple[float, float, float]:
    """A point inside one lung, at most `reach` of the way to its surface, clear of heart and liver."""
    (cx, cy, cz), radii = lungs.centres[int(rng.integers(2))], lungs.radii
    direction = rng.normal(size=3)
    direction *= reach * rng.random() ** (1 / 3) / np.linalg.norm(direction)
    outward = abs(direction[0]) * np.sign(cx)
    return cx + outward * radii[0], cy + direction[1] * radii[1], cz + 0.25 * radii[2] + direction[2] * radii[2] * 0.8


def smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, coarse: int) -> FloatArray:
    """Noise of unit variance at every `coarse`th voxel, linear between."""
    small = rng.normal(size=[max(2, n // coarse) for n in shape]).astype(np.float32)
    grown: FloatArray = zoom(small, [n / m for n, m in zip(shape, small.shape, strict=True)], order=1)
    return grown


def _scan(hu: FloatArray, rng: np.random.Generator) -> AnyArray:
    """Add the blur and noise of a scanner and round to int16 HU."""
    noise = rng.normal(size=hu.shape).astype(np.float32) * rng.uniform(12, 28)
    blurred = gaussian_filter(hu + noise, sigma=[0.6, 0.6, 0.0])
    return np.asarray(np.clip(np.rint(blurred), -1024, 3071), dtype=np.int16)
