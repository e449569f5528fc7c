"""Statistics of discrete codes, each position of the token sequence for itself.

N samples, L tokens of a sample, K codes (tokens are integers 0..K-1). Everything but
`unique_sequences` works on numpy arrays and on jax arrays, also inside `jit`.
"""

import jax
import jax.numpy as jnp
import numpy as np


def one_hot(tokens_NL, num_codes):
    """Tokens as features: float32 [N, L*K]; a token outside 0..K-1 gives zeros."""
    xp = namespace(tokens_NL)
    hot_NLK = tokens_NL[..., None] == xp.arange(num_codes)
    return hot_NLK.reshape(len(tokens_NL), -1).astype(np.float32)


def counts(tokens_NL, num_codes):
    """How often each code occurs at each position: int32 [L, K]; every occurrence counts."""
    xp = namespace(tokens_NL)
    return (tokens_NL[..., None] == xp.arange(num_codes)).sum(axis=0, dtype=np.int32)


def usage(counts_LK):
    """Number of codes that occur at least once: int [L], 0..K."""
    return (counts_LK > 0).sum(axis=-1)


def perplexity(counts_LK):
    """exp(entropy) of the code distribution, natural logarithm: float [L], 1 (one code) .. K.

    A position without any count has perplexity 1.
    """
    xp = namespace(counts_LK)
    share_LK = counts_LK / xp.maximum(counts_LK.sum(axis=-1, keepdims=True), 1)
    entropy_L = -(share_LK * xp.log(xp.where(share_LK > 0, share_LK, 1.0))).sum(axis=-1)
    return xp.exp(entropy_L)


def unique_sequences(tokens_NL):
    """Number of different token sequences among the samples, an int (numpy only)."""
    return len(np.unique(np.asarray(tokens_NL), axis=0))


def sequences(tokens_NL):
    """The different token sequences, the most frequent first, and their numbers (numpy only).

    Returns:
      (sequences int [S, L], number int [N] of each sample's sequence); equally frequent ones in the
      order of their tokens.
    """
    found_SL, number_N, counts_S = np.unique(
        np.asarray(tokens_NL), axis=0, return_inverse=True, return_counts=True
    )
    order_S = np.argsort(-counts_S, kind="stable")
    return found_SL[order_S], np.argsort(order_S)[number_N.reshape(-1)]


def namespace(x):
    return jnp if isinstance(x, jax.Array) else np
