"""How much one label says about another: entropies and what is left of them without chance.

N samples, A and B numbers of labels, K labels of one kind; counts are weighted numbers of samples.
Natural logarithm, so nats. `...` stands for any leading axes, also none. Everything but
`expected_mutual_information` and `adjusted_mutual_information` works on numpy arrays and on jax
arrays, also inside `jit`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lam.ops.codes import namespace


def crosstab(a_N, b_N, A, B, weight_N=None):
    """How often each label meets each other one: float32 [A, B], on the device.

    a_N, b_N: integers; a sample with a label outside 0..A-1 or 0..B-1 is not counted. A, B: ints.
    """
    return totals(None, weight_N, (a_N, b_N), (A, B))[..., 0]


def totals(columns_NC, weight_N, keys, sizes):
    """Sums of columns over the samples with the same keys; several times faster than one-hot
    matrices on a CPU.

    Args:
      columns_NC: float; None is one column of ones.
      weight_N: float, or None for ones.
      keys: a tuple of integers [N]; a sample with a key outside 0..size-1 counts nowhere.
      sizes: a tuple of ints, one a key.

    Returns:
      float32 [*sizes, C], on the device.
    """
    place_N, some_N, count = 0, True, 1
    for key_N, size in zip(keys, sizes, strict=True):
        key_N = jnp.asarray(key_N)
        some_N = some_N & (key_N >= 0) & (key_N < size)
        place_N, count = place_N * size + jnp.clip(key_N, 0, size - 1), count * size
    some_N = some_N.astype(jnp.float32)
    weight_N = some_N if weight_N is None else weight_N * some_N
    columns = [1.0] if columns_NC is None else list(columns_NC.T)
    found = [jax.ops.segment_sum(one * weight_N, place_N, count) for one in columns]
    return jnp.stack(found, axis=-1).reshape(*sizes, -1)


def entropy(counts_K):
    """Plug-in entropy in nats: counts [..., K] -> [...], 0..log K; too low for few samples.

    0 where nothing is counted.
    """
    xp = namespace(counts_K)
    share_K = counts_K / xp.maximum(counts_K.sum(axis=-1, keepdims=True), 1e-9)
    return -(share_K * xp.log(xp.where(share_K > 0, share_K, 1.0))).sum(axis=-1)


def entropy_mm(counts_K):
    """Entropy with the correction of Miller (1955): + (labels seen - 1) / 2N; [..., K] -> [...].

    Good for N far above K; for fewer samples still too low.
    """
    return entropy(counts_K) + _miller(counts_K)


def mutual_information(counts_AB):
    """Plug-in mutual information in nats: [..., A, B] -> [...]; too high, by about AB / 2N."""
    return _of_margins(entropy, counts_AB)


def mutual_information_mm(counts_AB):
    """Mutual information of Miller's entropies, about 0 by chance for N far above A times B."""
    return _of_margins(entropy_mm, counts_AB)


def conditional_entropy_mm(counts_AB):
    """What is not known of `a` when `b` is, H(a|b) of Miller's entropies: [..., A, B] -> [...]."""
    return entropy_mm(_flat(counts_AB)) - entropy_mm(counts_AB.sum(axis=-2))


def expected_mutual_information(counts_AB):
    """Mean of the plug-in mutual information over all tables of the same margins, numpy only.

    Exact, over the hypergeometric distribution of each cell (Vinh, Epps and Bailey, JMLR 2010), as
    scikit-learn's; it takes samples for independent of each other.

    Args:
      counts_AB: whole numbers [..., A, B].

    Returns:
      float64 [...], nats; 0 where nothing is counted.
    """
    counts_AB = np.rint(np.asarray(counts_AB, np.float64)).astype(np.int64)
    lead = counts_AB.shape[:-2]
    counts_TAB = counts_AB.reshape(-1, *counts_AB.shape[-2:])
    a_TAB, b_TAB, total_TAB = np.broadcast_arrays(
        counts_TAB.sum(axis=2)[:, :, None],
        counts_TAB.sum(axis=1)[:, None, :],
        counts_TAB.sum(axis=(1, 2))[:, None, None],
    )
    some_TAB = (a_TAB > 0) & (b_TAB > 0)
    table_C = np.nonzero(some_TAB)[0]
    cell_C = _expected_cells(a_TAB[some_TAB], b_TAB[some_TAB], total_TAB[some_TAB])
    return np.bincount(table_C, cell_C, len(counts_TAB)).reshape(lead)


def adjusted_mutual_information(counts_AB, expected=None):
    """Mutual information without chance, as a share: 0 by chance, 1 where labels tell each other.

    (MI - E[MI]) / (mean of the two entropies - E[MI]), as `adjusted_mutual_info_score` of
    scikit-learn, numpy only. It takes samples for independent: where they are alike within episodes
    it is above 0 also by chance, so it needs a permutation of episodes beside it.

    Args:
      counts_AB: whole numbers [..., A, B].
      expected: E[MI] [...] where it is known already, of tables with the same margins.

    Returns:
      float64 [...]; NaN where neither label varies, or every sample has labels of its own.
    """
    counts_AB = np.asarray(counts_AB, np.float64)
    expected = expected_mutual_information(counts_AB) if expected is None else expected
    ceiling = (entropy(counts_AB.sum(axis=-1)) + entropy(counts_AB.sum(axis=-2))) / 2
    span = np.where(ceiling - expected > 1e-9, ceiling - expected, np.nan)
    return (mutual_information(counts_AB) - expected) / span


def _expected_cells(a_C, b_C, total_C):
    """Sum over n of P(n) n/N log(N n / ab), n hypergeometric, of cells with margins a and b."""
    mean_C = a_C * b_C / total_C
    spread_C = np.sqrt(mean_C * (1 - a_C / total_C) * (1 - b_C / total_C))
    reach_C = 12 * spread_C + 40  # beyond it the probability is below the rounding of a float64
    low_C = np.maximum(np.maximum(1, a_C + b_C - total_C), (mean_C - reach_C).astype(np.int64))
    high_C = np.minimum(np.minimum(a_C, b_C), (mean_C + reach_C).astype(np.int64) + 1)
    terms_C = high_C - low_C + 1
    cell_M = np.repeat(np.arange(len(a_C)), terms_C)
    start_C = np.cumsum(terms_C) - terms_C
    n_M = np.arange(len(cell_M)) - start_C[cell_M] + low_C[cell_M]
    largest = int(total_C.max(initial=0))
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, largest + 1)))])
    fixed_C = (
        factorial[a_C] + factorial[b_C] + factorial[total_C - a_C] + factorial[total_C - b_C]
        - factorial[total_C]
    )  # fmt: skip
    a_M, b_M, total_M = a_C[cell_M], b_C[cell_M], total_C[cell_M]
    log_probability_M = fixed_C[cell_M] - (
        factorial[n_M] + factorial[a_M - n_M] + factorial[b_M - n_M]
        + factorial[total_M - a_M - b_M + n_M]
    )  # fmt: skip
    gain_M = n_M / total_M * np.log(total_M * n_M / (a_M * b_M.astype(np.float64)))
    return np.bincount(cell_M, np.exp(log_probability_M) * gain_M, len(a_C))


def _of_margins(entropy_of, counts_AB):
    """H(a) + H(b) - H(a, b)."""
    margins = entropy_of(counts_AB.sum(axis=-1)) + entropy_of(counts_AB.sum(axis=-2))
    return margins - entropy_of(_flat(counts_AB))


def _miller(counts_K):
    xp = namespace(counts_K)
    seen = (counts_K > 0).sum(axis=-1)
    return xp.maximum(seen - 1, 0) / xp.maximum(2 * counts_K.sum(axis=-1), 1e-9)


def _flat(counts_AB):
    return counts_AB.reshape(*counts_AB.shape[:-2], -1)
