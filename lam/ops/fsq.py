"""Finite scalar quantisation (Mentzer et al., 2023, arXiv 2309.15505): each number on a small grid.

D dims, the i-th with L_i levels; a code is float [..., D] in -1..1, its index int32 [...] in
0..prod(L)-1, the first dim the least significant. As in lucidrains/vector-quantize-pytorch.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

MARGIN = 1e-3  # by which the bounds lie outside of the outermost levels
LEAST = 3  # levels of a dim; with 2 everything near zero is one code
TABLE = {  # codes asked for: levels that come near; from 16 on as in the paper and in AMPLIFY
    4: (4,), 8: (8,), 16: (5, 3), 32: (8, 4), 64: (8, 8), 128: (5, 5, 5), 256: (8, 6, 5),
    512: (8, 8, 8), 1024: (8, 5, 5, 5), 2048: (8, 8, 6, 5), 4096: (7, 5, 5, 5, 5),
    16384: (8, 8, 8, 6, 5), 65536: (8, 8, 8, 5, 5, 5),
}  # fmt: skip


def size(levels):
    """How many codes there are: prod(L)."""
    return math.prod(levels)


def bound(z, levels):
    """Numbers of any size into the range of the levels, where `round` finds them: [..., D]."""
    half, offset = _range(levels)
    return jnp.tanh(z + jnp.arctanh(offset / half)) * half - offset


def quantize(z, levels):
    """Codes of float [..., D], in float32; the gradient is that of `bound`."""
    bounded = bound(z.astype(jnp.float32), levels)
    rounded = bounded + jax.lax.stop_gradient(jnp.round(bounded) - bounded)
    return rounded / _width(levels)


def indices(codes, levels):
    """Index of each code: int32 [...]."""
    digits = jnp.round(codes * _width(levels)) + _width(levels)
    return jnp.sum(digits.astype(jnp.int32) * _basis(levels), axis=-1)


def codes(indices, levels):
    """The codes of indices: float32 [..., D]."""
    digits = jnp.asarray(indices)[..., None] // _basis(levels) % np.array(levels, np.int32)
    return (digits - _width(levels)).astype(jnp.float32) / _width(levels)


def _range(levels):
    """Half the length of the bounded range, and by how much it is shifted down: two [D]."""
    levels = np.array(levels)
    half = ((levels - 1) * (1 + MARGIN) / 2).astype(np.float32)
    return half, np.where(levels % 2, 0.0, 0.5).astype(np.float32)


def _width(levels):
    return np.array(levels, np.int32) // 2


def _basis(levels):
    return np.cumprod([1, *levels[:-1]]).astype(np.int32)
