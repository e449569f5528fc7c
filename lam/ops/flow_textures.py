"""Procedural textures: canvases that repeat without a seam, drawn from a key on the device.

T texels of a side, G cells of a side of a coarse grid, K channels. Few calls of the random
generator, each for many numbers: they are what takes long to compile.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

STROKE = 2  # texels, of writing
LETTER, LINE = 4, 8  # strokes from letter to letter and from line to line


def canvas(key, side):
    """A canvas of three unlike patterns: float32 [T,T,3] in 0..1, repeating without a seam.

    Channel 0 is clouds, marble or islands; 1 stripes, checks or dots; 2 writing, blobs, scratches.
    `side` is a power of two of at least 16 texels.
    """
    noise_key, ink_key, key = jax.random.split(key, 3)
    slope, *chances = jax.random.uniform(key, (13,))
    rough, smooth = _noises(noise_key, side, jnp.stack([1.1 * slope, 1.2 + 0.8 * slope]))
    strokes = side // STROKE
    ink = jax.random.uniform(ink_key, (strokes, strokes))
    channels = (
        _clouds(chances[:2], rough),
        _pattern(chances[2:8], smooth),
        _marks(chances[8:], rough, smooth, ink),
    )
    return jnp.stack(channels, axis=-1)


def sample(canvases_CTTK, number, u, v):
    """Bilinear values [..., K] of canvas `number` at column u and row v, in texels; repeats."""
    side, channels = canvases_CTTK.shape[2:]
    column, row = jnp.floor(u), jnp.floor(v)
    right, down = (u - column)[..., None], (v - row)[..., None]
    # a row of the table holds the four corners of a cell: one look-up instead of four
    corners = [jnp.roll(canvases_CTTK, (-i, -j), (1, 2)) for i in (0, 1) for j in (0, 1)]
    table = jnp.concatenate(corners, axis=-1).reshape(-1, 4 * channels)
    column, row = (x.astype(jnp.int32) % side for x in (column, row))
    cell = table[(number * side + row) * side + column]
    a, b, c, d = jnp.split(cell, 4, axis=-1)
    above, below = a + right * (b - a), c + right * (d - c)
    return above + down * (below - above)


def _noises(key, side, slope_N):
    """Sums of octaves whose amplitude falls by 2^-slope each, mean 0 and spread 1: [N,T,T]."""
    octaves = 2 ** np.arange(1, side.bit_length() - 1)  # cells of a side, up to half the texels
    ends = np.cumsum(octaves**2)
    grids = jnp.split(jax.random.normal(key, (len(slope_N), ends[-1])), ends[:-1], axis=1)
    rows = [
        2.0 ** (-octave * slope_N[:, None, None])
        * (_interpolation(side, cells) @ grid.reshape(-1, cells, cells))
        for octave, (cells, grid) in enumerate(zip(octaves.tolist(), grids, strict=True))
    ]
    columns = np.concatenate([_interpolation(side, cells) for cells in octaves.tolist()], axis=1)
    noise = jnp.concatenate(rows, axis=2) @ columns.T
    mean, spread = (f(noise, axis=(1, 2), keepdims=True) for f in (jnp.mean, jnp.std))
    return (noise - mean) / (spread + 1e-6)


@functools.cache
def _interpolation(side, cells):
    """Cubic B-spline weights [T,G] of each texel for the cells of a periodic grid."""
    place = np.arange(side)[:, None] * cells / side - np.arange(cells)
    far = np.abs((place + cells / 2) % cells - cells / 2)
    near = 2 / 3 - far**2 + far**3 / 2
    tail = np.clip(2 - far, 0, None) ** 3 / 6
    return np.where(far < 1, near, tail).astype(np.float32)


def _clouds(chances, noise):
    """Noise as it is, folded into marble, or cut into islands."""
    sharp = jnp.exp(2.5 * chances[1])
    marble = 0.5 + 0.5 * jnp.sin(sharp * noise)
    return _choose(chances[0], (_step(0.3 * noise), marble, _step(sharp * (noise - 0.3))))


def _pattern(chances, noise):
    """Stripes, checks or dots, at times bent by the noise, fading here and there."""
    side = noise.shape[0]
    kind, wave_x, wave_y, bend, sharp, level = chances
    across, down = (jnp.round((2 * wave - 1) * side / 12) for wave in (wave_x, wave_y))
    bend, sharp, level = 4 * jnp.maximum(bend - 0.5, 0), 0.5 + 2.5 * sharp, level - 0.5
    turn = 2 * np.pi * np.arange(side, dtype=np.float32) / side  # whole waves: no seam
    one = jnp.sin(across * turn[None] + down * turn[:, None] + bend * noise)
    other = jnp.sin(across * turn[:, None] - down * turn[None] + bend * noise)
    stripes, checks = _step(sharp * (one + level)), _step(2 * sharp * one * other)
    dots = _step(2 * sharp * (one + other - 1.0 - level))
    fading = _step(0.5 + noise)  # so that it does not look the same a period further
    return fading * _choose(kind, (stripes, checks, dots))


def _marks(chances, rough, smooth, ink):
    """Lines of writing, blobs or thin scratches: 1 where there is ink."""
    kind, level, words = chances[0], 0.5 + 1.3 * chances[1], chances[2]
    row, column = np.arange(len(ink))[:, None], np.arange(len(ink))
    letters = (ink < 0.55) & (row % LINE < LINE - 3) & (column % LETTER < LETTER - 1)
    # words end where a wave along the line is high, which begins elsewhere in each line
    wave = 3 * (column // LETTER) / (len(ink) // LETTER) + row // LINE * words
    letters &= jnp.sin(2 * np.pi * wave) < 0.6
    page = letters.astype(jnp.float32)
    page = jnp.repeat(jnp.repeat(page, STROKE, 0), STROKE, 1) * (smooth > -0.3)
    scratches = jnp.exp(-((6.0 * (smooth - level + 1.0)) ** 2))
    return _choose(kind, (page, _step(6 * (smooth + 0.3 * rough - level)), scratches))


def _choose(chance, options):
    number = jnp.minimum(chance * len(options), len(options) - 1).astype(jnp.int32)
    return jnp.stack(options)[number]


def _step(x):
    """0..1, steepest at 0 and flat from 1 on."""
    x = jnp.clip(x, -1, 1)
    return 0.5 + 0.5 * x * (1.5 - 0.5 * x**2)
