"""Numbers about images.

Works on numpy arrays (returns numpy) and on jax arrays, also inside `jit` (returns jax).
"""

import jax
import jax.numpy as jnp
import numpy as np

MSE_FLOOR = 1e-10  # PSNR ends at 100 dB: identical images give a number, not infinity


def to_float(frames):
    """uint8 0..255 -> float32 in [0, 1], any shape."""
    return frames.astype(np.float32) / np.float32(255)


def to_uint8(images):
    """float [0, 1] -> uint8 0..255, rounded to the nearest level; values outside are clipped."""
    xp = _namespace(images)
    return xp.clip(xp.round(images * 255.0), 0, 255).astype(np.uint8)


def pooled(images, cells):
    """Mean colours of a grid, numpy only: [..., H, W, C] -> float32 [..., n, n, C].

    n is `cells`, less where a side has fewer pixels; cells differ by at most a pixel in size.
    """
    images = np.asarray(images, np.float32)
    for axis in (-3, -2):
        size = images.shape[axis]
        edges = np.linspace(0, size, min(cells, size) + 1).astype(int)
        shape = [-1 if d == images.ndim + axis else 1 for d in range(images.ndim)]
        images = np.add.reduceat(images, edges[:-1], axis) / np.diff(edges).reshape(shape)
    return images.astype(np.float32)


def psnr(mse):
    """Peak signal-to-noise ratio in dB of a mean squared error of images in [0, 1].

    `mse`: scalar or array. Errors below 1e-10 count as 1e-10, so the result is at most 100 dB.
    """
    xp = _namespace(mse)
    return -10.0 * xp.log10(xp.maximum(mse, MSE_FLOOR))


def _namespace(x):
    return jnp if isinstance(x, jax.Array) else np
