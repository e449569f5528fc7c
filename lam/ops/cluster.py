"""k-means, the same for the same seed.

N samples, D dims, K clusters.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def kmeans(values_ND, clusters, seed=0, restarts=4, steps=30):
    """Lloyd's k-means from k-means++ (Arthur and Vassilvitskii, 2007), the best of some restarts.

    Args:
      values_ND: float, finite.
      clusters: K, 1..N. Samples that are equal stay together, so there can be fewer.
      restarts, steps: starts, and rounds from each of them.

    Returns:
      (cluster int32 [N], 0..K-1, the largest first; centres float32 [K,D]; mean squared distance
      to them, a float). A cluster without samples has its last centre and comes last.

    Raises:
      ValueError: more clusters than samples, or values that are not finite.
    """
    values_ND = np.asarray(values_ND, np.float32)
    if not 1 <= clusters <= len(values_ND):
        raise ValueError(f"{clusters} clusters of {len(values_ND)} samples; wants 1 to N")
    if not np.isfinite(values_ND).all():
        raise ValueError("k-means needs finite values")
    keys, mean_D = jax.random.split(jax.random.key(seed), restarts), values_ND.mean(axis=0)
    found = jax.device_get(_best(values_ND - mean_D, keys, clusters, steps))
    order_K = np.argsort(-np.bincount(found[0], minlength=clusters), kind="stable")
    cluster_N = np.argsort(order_K)[found[0]].astype(np.int32)
    return cluster_N, found[1][order_K] + mean_D, float(found[2])


@functools.partial(jax.jit, static_argnums=(2, 3))
def _best(values_ND, keys, clusters, steps):
    run = lambda key: _lloyd(values_ND, _start(values_ND, key, clusters), steps)  # noqa: E731
    found = jax.lax.map(run, keys)
    best = jnp.argmin(found[2])
    return jax.tree.map(lambda x: x[best], found)


def _start(values_ND, key, clusters):
    """Centres [K,D]: samples, each drawn by its squared distance to those before it."""
    keys = jax.random.split(key, clusters)
    first_D = values_ND[jax.random.randint(keys[0], (), 0, len(values_ND))]

    def add(nearest_N, key):
        weight_N = jnp.where(nearest_N.sum() > 0, nearest_N, 1.0)
        centre_D = values_ND[jax.random.categorical(key, jnp.log(weight_N))]
        return jnp.minimum(nearest_N, _squares(values_ND, centre_D[None])[:, 0]), centre_D

    _, more_KD = jax.lax.scan(add, _squares(values_ND, first_D[None])[:, 0], keys[1:])
    return jnp.concatenate([first_D[None], more_KD])


def _lloyd(values_ND, centres_KD, steps):
    def step(centres_KD, _):
        hot_NK = jax.nn.one_hot(_squares(values_ND, centres_KD).argmin(axis=1), len(centres_KD))
        count_K = hot_NK.sum(axis=0)[:, None]
        mean_KD = jnp.matmul(hot_NK.T, values_ND, precision="highest") / jnp.maximum(count_K, 1)
        return jnp.where(count_K > 0, mean_KD, centres_KD), None

    centres_KD, _ = jax.lax.scan(step, centres_KD, None, length=steps)
    squares_NK = _squares(values_ND, centres_KD)
    return squares_NK.argmin(axis=1), centres_KD, squares_NK.min(axis=1).mean()


def _squares(values_ND, centres_KD):
    """Squared distances [N,K]."""
    dots_NK = jnp.matmul(values_ND, centres_KD.T, precision="highest")
    lengths_NK = jnp.sum(values_ND**2, axis=1)[:, None] + jnp.sum(centres_KD**2, axis=1)
    return jnp.maximum(lengths_NK - 2 * dots_NK, 0)
