"""A small network as a probe: one hidden layer, full batches, stopped early.

N samples, F features, D target dims, H hidden units. Compiles once for each N, F and D; columns of
zeros, which change nothing, give several sets of features one width.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

HIDDEN = 64
OPTIMIZER = optax.adamw(  # decays matrices only
    0.01, b2=0.99, weight_decay=0.03, mask=lambda tree: jax.tree.map(lambda x: x.ndim == 2, tree)
)


def fit(features_NF, targets_ND, held_N, steps=300, seed=0):
    """tanh network from features to targets, by AdamW on the mean squared error.

    Starts as the mean of the targets, and is kept as it was when the error of the held-out samples
    was least; features and targets are standardised by the others. Same seed, same result.

    Args:
      held_N: bool, samples that only decide when to stop; whole scenes, some but not all.

    Returns:
      what `apply` takes.
    """
    features_NF, targets_ND = (np.asarray(x, np.float32) for x in (features_NF, targets_ND))
    scales = _scale(features_NF[~held_N]), _scale(targets_ND[~held_N])
    x_NF, y_ND = ((x - s[0]) / s[1] for x, s in zip((features_NF, targets_ND), scales, strict=True))
    varies_F = x_NF.any(axis=0)
    start_FH = np.zeros((len(varies_F), HIDDEN), np.float32)
    shape = (varies_F.sum(), HIDDEN)
    start_FH[varies_F] = np.random.default_rng(seed).normal(size=shape) / max(shape[0], 1) ** 0.5
    return jax.device_get(_train(start_FH, x_NF, y_ND, np.asarray(held_N), steps)), scales


def apply(network, features_NF):
    """Predictions float32 [N, D] of what `fit` returned."""
    weights, (of_features, of_targets) = network
    x_NF = (np.asarray(features_NF, np.float32) - of_features[0]) / of_features[1]
    return np.asarray(_forward(weights, x_NF)) * of_targets[1] + of_targets[0]


@functools.partial(jax.jit, static_argnums=4)
def _train(start_FH, x_NF, y_ND, held_N, steps):
    def errors(weights):
        square_N = jnp.mean((_forward(weights, x_NF) - y_ND) ** 2, axis=1)
        held = jnp.sum(square_N * held_N) / jnp.sum(held_N)
        return jnp.sum(square_N * ~held_N) / jnp.sum(~held_N), held

    def step(carry, _):
        weights, state, best, least = carry
        (_, held), gradients = jax.value_and_grad(errors, has_aux=True)(weights)
        better = held < least
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), weights, best)
        updates, state = OPTIMIZER.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
        return (weights, state, best, jnp.minimum(held, least)), None

    dims = y_ND.shape[1]
    weights = [start_FH, jnp.zeros(HIDDEN), jnp.zeros((HIDDEN, dims)), jnp.zeros(dims)]
    carry = (weights, OPTIMIZER.init(weights), weights, jnp.inf)
    return jax.lax.scan(step, carry, length=steps + 1)[0][2]


def _forward(weights, x_NF):
    return jnp.tanh(x_NF @ weights[0] + weights[1]) @ weights[2] + weights[3]


def _scale(values):
    """Mean and standard deviation of each column, 1 where it does not vary."""
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 0, spread, 1).astype(np.float32)
