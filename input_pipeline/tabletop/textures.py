"""Procedural textures: colours as a function of a layer's own coordinates (table units).

N points, K waves. Smooth noise is a sum of K sine waves of random direction, so a texture needs no
image, no table and no licence, and is the same at every resolution.
"""

from dataclasses import dataclass

import numpy as np

_FINE = 0.13  # shortest period of the noise, four pixels at 64 x 64


@dataclass(frozen=True)
class Texture:
    """Two colours (float32 [3], 0..1), how they mix, and the noise that shades both."""

    kind: str
    color_a: np.ndarray
    color_b: np.ndarray
    waves_K4: np.ndarray  # (x frequency, y frequency, phase, weight) each
    period: float
    angle: float
    grain: float  # strength of the brightness noise
    rim: float  # darkening towards the edge


def sample(rng, kind, color_a, color_b, *, period, angle=None, grain=0.12, rim=0.0, coarse=0.8):
    """A texture of the given kind and colours with random waves between 0.13 and `coarse` units."""
    count = 4
    length = (
        _FINE * (coarse / _FINE) ** (np.arange(count) / (count - 1)) * rng.uniform(0.85, 1.2, count)
    )
    turn = rng.uniform(0, 2 * np.pi, count)
    wave = 2 * np.pi / length
    weight = np.full(count, 1 / count)
    columns = (wave * np.cos(turn), wave * np.sin(turn), rng.uniform(0, 6.3, count), weight)
    if angle is None:
        angle = rng.uniform(0, np.pi)
    return Texture(
        kind,
        np.asarray(color_a, np.float32),
        np.asarray(color_b, np.float32),
        np.stack(columns, -1).astype(np.float32),
        float(period),
        float(angle),
        float(grain),
        float(rim),
    )


def _lines(phase, width):
    return np.clip((np.cos(phase) - width) * 6, 0, 1)


_MIX = {
    "plain": lambda u, v, noise: 0.25 + 0.5 * noise,
    "clouds": lambda u, v, noise: 0.5 + 1.2 * noise,
    "striped": lambda u, v, noise: 0.5 + np.clip(1.5 * np.sin(u), -0.5, 0.5),
    "checked": lambda u, v, noise: 0.5 + np.clip(3 * np.sin(u) * np.sin(v), -0.5, 0.5),
    "spotted": lambda u, v, noise: np.clip(2.5 * (np.cos(u) + np.cos(v) - 0.5), 0, 1),
    "wood": lambda u, v, noise: 0.5 + 0.35 * np.sin(v + 2.5 * noise) + 0.6 * noise,
    "cloth": lambda u, v, noise: 0.5 + 0.2 * np.sin(u) + 0.2 * np.sin(v) + 0.7 * noise,
    "mat": lambda u, v, noise: np.maximum(_lines(u, 0.9), _lines(v, 0.9)) + 0.25 * noise,
}


def shade(texture, x, y, depth):
    """Colours float32 [N,3], 0..1, at the points (x, y) [N]; depth [N] is the way to the edge."""
    noise = np.zeros(x.shape, np.float32)
    for x_wave, y_wave, phase, weight in texture.waves_K4:
        noise += weight * np.sin(x_wave * x + y_wave * y + phase)
    scale = 2 * np.pi / texture.period
    cos, sin = np.float32(scale * np.cos(texture.angle)), np.float32(scale * np.sin(texture.angle))
    mix = _MIX[texture.kind](cos * x + sin * y, cos * y - sin * x, noise)
    mix = np.clip(mix, 0, 1)
    light = 1 + texture.grain * noise
    if texture.rim:
        light *= 1 - texture.rim * np.clip(1 - depth * 18, 0, 1)
    step = texture.color_b - texture.color_a
    color_N3 = texture.color_a + mix[..., None] * step
    return color_N3 * light[..., None]
