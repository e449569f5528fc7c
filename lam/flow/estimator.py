"""The estimator: any number of frames of any size through a RAFT, in few compiled sizes.

N pairs, H W pixels. Flow is (dx, dy) in pixels, x right, y down, from frame 1 to frame 2, at the
pixels of frame 1.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lam.errors import UserError
from lam.models.raft import SMALLEST, Raft, estimate

LEAST = 8  # pixels of a side
# Pixels of the pairs that are computed at once. On a CPU more do not make it faster.
AT_ONCE = {"cpu": 2 * 256**2}
AT_ONCE_ELSEWHERE = 64 * 256**2


class Confident(NamedTuple):
    """Flow and how well the flow back from where it leads agrees with it."""

    flow: np.ndarray  # float32 [N,H,W,2], pixels
    confidence: np.ndarray  # float32 [N,H,W], 0..1; see `consistency`


class Estimator:
    """RAFT with weights, ready to use; compiles once for each size and number of frames at once.

    Attributes:
      model: the lam.models.raft.Raft.
      variables: {"params", and "batch_stats" for the large size}, float32.
      about: texts that the file of weights says about itself.
    """

    def __init__(self, size, variables, dtype="float32", about=None):
        self.model = Raft(size, dtype=jnp.dtype(dtype))
        self.variables, self.about = jax.device_put(variables), about or {}
        run = functools.partial(estimate, self.model)
        self._estimate = jax.jit(run, static_argnums=3)
        self._both = jax.jit(functools.partial(both_ways, run), static_argnums=3)

    def __call__(self, first, second, updates=12, flow_init=None):
        """Flow of pairs: float32 [N,H,W,2]. Any N, also 0; any H and W from 8.

        Args:
          first, second: [N,H,W,3] RGB, uint8 0..255 or float in [0,1].
          updates: of the flow; more help up to what the weights were trained with, 12 as a rule.
          flow_init: float32 [N,H,W,2] in pixels to start from, such as the flow of the pair before.
        """
        arrays = check_pair(first, second, updates)
        if flow_init is not None:
            arrays.append(check_flow(flow_init, arrays[0].shape))
        return self._in_chunks(lambda *x: [self._estimate(*x[:3], updates, *x[3:])], arrays)[0]

    def with_confidence(self, first, second, updates=12):
        """The same flow, together with its forward-backward consistency: a Confident."""
        arrays = check_pair(first, second, updates)
        return Confident(*self._in_chunks(lambda *x: self._both(*x, updates), arrays))

    def _in_chunks(self, function, arrays):
        """Runs over the pairs in a few compiled sizes, powers of two, the last chunk padded."""
        total, height, width, _ = arrays[0].shape
        if not total:
            empty = np.zeros((0, height, width, 2), np.float32)
            return empty, empty[..., 0]
        largest = at_once(height, width)
        done, begin = [], 0
        while begin < total:
            left = total - begin
            size = min(largest, 2 * power_of_two_to(left - 1) if left > 1 else 1)
            rows = np.minimum(np.arange(begin, begin + size), total - 1)
            out = function(self.variables, *(jnp.asarray(x[rows]) for x in arrays))
            done.append([np.asarray(x)[:left] for x in out])
            begin += size
        return tuple(np.concatenate(parts) for parts in zip(*done, strict=True))


def at_once(height, width):
    """How many pairs of such frames are computed in one piece on this machine: a power of two."""
    pixels = AT_ONCE.get(jax.default_backend(), AT_ONCE_ELSEWHERE)
    return power_of_two_to(max(1, pixels // max(height * width, SMALLEST**2)))


def power_of_two_to(number):
    """The largest power of two that is not above the number."""
    return 1 << (number.bit_length() - 1)


def both_ways(estimate, variables, first, second, updates):
    """(flow, confidence) of pairs, from the flow in both directions."""
    frames = jnp.concatenate([first, second]), jnp.concatenate([second, first])
    forward, backward = jnp.split(estimate(variables, *frames, updates), 2)
    return forward, consistency(forward, backward)


def consistency(forward_NHW2, backward_NHW2):
    """Agreement of a flow with the flow back, read where it leads: float32 [N,H,W], 0..1.

    1 / (1 + m / t), m the squared length of the sum of both and t the usual limit of it,
    0.01 * (sum of both squared lengths) + 0.5: above 0.5 the pixel passes, below it is hidden in
    frame 2 or the flow is wrong. 0 where the flow leaves the frame.
    """
    _, height, width, _ = forward_NHW2.shape
    grid_HW2 = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), axis=-1)
    x_NHW, y_NHW = jnp.moveaxis(grid_HW2 + forward_NHW2, -1, 0)

    def read(image_HW, y_HW, x_HW):
        return jax.scipy.ndimage.map_coordinates(image_HW, [y_HW, x_HW], 1, "nearest")

    back = jax.vmap(jax.vmap(read, (-1, None, None), -1))(backward_NHW2, y_NHW, x_NHW)
    mismatch = jnp.sum((forward_NHW2 + back) ** 2, axis=-1)
    limit = 0.01 * jnp.sum(forward_NHW2**2 + back**2, axis=-1) + 0.5
    inside = (x_NHW >= 0) & (x_NHW <= width - 1) & (y_NHW >= 0) & (y_NHW <= height - 1)
    return jnp.where(inside, 1 / (1 + mismatch / limit), 0)


def check_pair(first, second, updates):
    """Both as arrays; UserError, in one line, for what the estimator cannot take."""
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise UserError(
            f"both frames must have one shape, got {text(first)} and {text(second)}: resize or crop"
        )
    for frames in (first, second):
        check_frames(frames)
    if not isinstance(updates, int | np.integer) or updates < 1:
        raise UserError(f"updates must be a whole number of at least 1, got {updates!r}")
    return [first, second]


def check_frames(frames):
    shape, kind = frames.shape, frames.dtype
    if len(shape) == 4 and shape[1] == 3 != shape[3]:
        raise UserError(f"colours come last: frames must be [N,H,W,3], got {text(frames)}")
    if len(shape) != 4 or shape[3] != 3 or min(shape[1:3]) < LEAST:
        raise UserError(
            f"frames must be [N,H,W,3] with at least {LEAST} pixels a side, got {text(frames)}"
        )
    if kind != np.uint8 and not jnp.issubdtype(kind, jnp.floating):
        raise UserError(f"frames must be uint8 or float in 0..1, got {kind}")
    if kind != np.uint8 and frames.size:
        low, high = float(frames.min()), float(frames.max())
        if not (low >= 0 and high <= 1):  # also for NaN
            hint = "clean them" if not np.isfinite(low + high) else "scale them, or give uint8"
            raise UserError(f"float frames must lie in 0..1, got {low:g}..{high:g}: {hint}")


def check_flow(flow, shape):
    """The start as float32; UserError unless it fits frames of `shape`."""
    flow = np.asarray(flow)
    if flow.shape != (*shape[:3], 2) or not np.issubdtype(flow.dtype, np.floating):
        raise UserError(f"flow_init must be float {[*shape[:3], 2]}, got {text(flow)}")
    if not np.isfinite(flow).all():
        raise UserError("flow_init holds values that are not finite: use zeros there")
    return flow.astype(np.float32)


def text(array):
    return f"{array.dtype} [{','.join(map(str, array.shape))}]"
