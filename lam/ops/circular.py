"""Directions in the plane: how much they agree, one kind of samples at a time.

N samples, T kinds, E episodes. x right, y down; angles in radians from +x towards +y. jax arrays,
fit for jit and vmap.
"""

import math

import jax.numpy as jnp

from lam.ops import information

OCTANTS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
EIGHTH = math.pi / 4


def angle(vectors_N2):
    """Direction of vectors [..., 2]: radians [...], -pi..pi."""
    return jnp.arctan2(vectors_N2[..., 1], vectors_N2[..., 0])


def octant(vectors_N2):
    """Which of eight directions is nearest: int32 [...], see OCTANTS; -1 for zero or NaN."""
    turn = jnp.round(angle(vectors_N2) / EIGHTH)
    some = jnp.isfinite(vectors_N2).all(axis=-1) & (vectors_N2 != 0).any(axis=-1)
    return jnp.where(some, jnp.where(some, turn, 0).astype(jnp.int32) % 8, -1)


def resultants(angle_N, kind_N, kinds, weight_N=None, episode_N=None, episodes=None):
    """How far the directions of each kind agree.

    Samples of one episode are not independent. Given the episodes, only pairs of samples from
    different episodes speak for agreement, and the test takes an episode for one vector.

    Args:
      angle_N: radians; what is not finite counts nowhere.
      kind_N: integers; others than 0..kinds-1 count nowhere.
      kinds: T, an int.
      weight_N: not negative, e.g. lengths of motions or numbers of a bootstrap; None is 1.
      episode_N, episodes: integers 0..episodes-1 and their number E; without, each sample stands
        for itself.

    Returns:
      dict of float32 [T], NaN where there are too few samples (or episodes):
        direction  of the mean vector, radians
        length     R of the mean vector, 0..1; above 0 by chance
        length2    R^2 without that: mean cosine between pairs, 0 by chance, may be negative
        axial      R of the doubled angles: near 1 with `length` near 0, motions are opposed
        p          that directions are uniform, by `rayleigh_p`
        count      weight of the samples
    """
    known_N = jnp.isfinite(angle_N)
    angle_N = jnp.where(known_N, angle_N, 0.0)
    weight_N = (jnp.ones_like(angle_N) if weight_N is None else weight_N) * known_N
    columns = [jnp.ones_like(angle_N)]
    columns += [turn(times * angle_N) for times in (1, 2) for turn in (jnp.cos, jnp.sin)]
    columns_N5 = jnp.stack(columns, axis=1)
    sums_T5 = information.totals(columns_N5, weight_N, (kind_N,), (kinds,))
    count_T, square_T = sums_T5[:, 0], jnp.sum(sums_T5[:, 1:3] ** 2, axis=1)
    if episode_N is None:
        # each sample is a step of its weight, and a pair with itself
        weight2_T = information.totals(None, weight_N**2, (kind_N,), (kinds,))[:, 0]
        walked_T, steps2_T = count_T, weight2_T
    else:
        keys, sizes = (episode_N, kind_N), (episodes, kinds)
        sums_ET3 = information.totals(columns_N5[:, :3], weight_N, keys, sizes)
        weight2_T = jnp.sum(sums_ET3[..., 0] ** 2, axis=0)
        steps2_ET = jnp.sum(sums_ET3[..., 1:] ** 2, axis=-1)
        walked_T, steps2_T = jnp.sum(jnp.sqrt(steps2_ET), axis=0), jnp.sum(steps2_ET, axis=0)
    mean_T4 = _ratio(sums_T5[:, 1:], count_T[:, None])
    p_T = rayleigh_p(_ratio(walked_T**2, steps2_T), _ratio(jnp.sqrt(square_T), walked_T))
    return {
        "direction": angle(mean_T4[:, :2]),
        "length": jnp.hypot(mean_T4[:, 0], mean_T4[:, 1]),
        "length2": _ratio(square_T - steps2_T, count_T**2 - weight2_T, 1e-4 * count_T**2),
        "axial": jnp.hypot(mean_T4[:, 2], mean_T4[:, 3]),
        "p": p_T,
        "count": count_T,
    }


def rayleigh_p(count, length):
    """Chance of a mean vector at least so long if directions are uniform: Rayleigh's test.

    Zar's approximation (Biostatistical Analysis, 27.4), good from about 5 directions on; for steps
    of different length `count` is (sum)^2 / sum of squares. NaN stays NaN.
    """
    side = 1 + 2 * count
    square = 4 * (count * length) ** 2
    return jnp.exp(-square / (jnp.sqrt(jnp.maximum(side**2 - square, 0)) + side))


def _ratio(above, below, least=0.0):
    """above / below, NaN where `below` is not above `least`."""
    return jnp.where(below > least, above / jnp.where(below > least, below, 1.0), jnp.nan)
