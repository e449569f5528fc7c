"""Codebooks as arrays, one for each token position or one for all: their start and their upkeep.

B batch, L token positions, G codebooks (L, or 1 shared), K codes, D width of a code, R recent
encoder outputs.

LAPA's codebook (Ye et al., 2024) collapses; its three causes are removed here: codes start on
encoder outputs (`init_codes`), usage is counted once per occurrence (`count`), and dead codes are
re-seeded with noise relative to the spread of the encoder (`reseed`).
"""

import jax
import jax.numpy as jnp

RESEED_NOISE = 0.02  # of the spread of the encoder outputs
USAGE_RATE = 0.02  # of the running usage: a code used no more is dead in about 115 steps
ALIVE = 0.1  # share of its fair use from which a code is alive


def nearest(z_BLD, codebook_GKD):
    """Index of the nearest code by Euclidean distance, in float32: int32 [B,L]."""
    z, codebook = z_BLD.astype(jnp.float32), codebook_GKD.astype(jnp.float32)
    codebook = jnp.broadcast_to(codebook, (z.shape[1], *codebook.shape[1:]))
    dots_BLK = jnp.einsum("bld,lkd->blk", z, codebook)
    distances_BLK = jnp.sum(codebook**2, axis=-1) - 2 * dots_BLK  # less the constant |z|^2
    return jnp.argmin(distances_BLK, axis=-1).astype(jnp.int32)


def lookup(tokens_BL, codebook_GKD):
    """Codes of the tokens: [B,L,D]."""
    return codebook_GKD[jnp.arange(tokens_BL.shape[1]) % codebook_GKD.shape[0], tokens_BL]


def by_codebook(x_BL, codebooks):
    """Rows of each codebook: [B,L,...] -> [R,G,...], all positions together where it is shared."""
    return x_BL.reshape(-1, codebooks, *x_BL.shape[2:])


def init_codes(z_BLD, codebooks, num_codes, rng):
    """Codes on randomly chosen encoder outputs, spread by a little noise: [G,K,D]."""
    z_RGD = by_codebook(z_BLD, codebooks)
    keys_G = jax.random.split(rng, codebooks)
    shuffled_GR = jax.vmap(lambda key: jax.random.permutation(key, z_RGD.shape[0]))(keys_G)
    rows_GK = jnp.take(shuffled_GR, jnp.arange(num_codes) % z_RGD.shape[0], axis=1)
    codes_GKD = jnp.swapaxes(z_RGD, 0, 1)[jnp.arange(codebooks)[:, None], rows_GK]
    spread_G = jnp.sqrt(jnp.mean(jnp.var(z_RGD, axis=0), axis=-1)) + 1e-6
    noise_GKD = jax.random.normal(jax.random.fold_in(rng, 1), codes_GKD.shape)
    return codes_GKD + RESEED_NOISE * spread_G[:, None, None] * noise_GKD


def count(tokens_BL, codebooks, num_codes):
    """How often each code was used, every occurrence counted: float32 [G,K]."""
    used_RGK = by_codebook(jax.nn.one_hot(tokens_BL, num_codes, dtype=jnp.float32), codebooks)
    return jnp.sum(used_RGK, axis=0)


def used_by(codebook_GKD, z_BLD):
    """Number [G,K] and sum [G,K,D] of the encoder outputs that each code stands for."""
    codebooks, num_codes, _ = codebook_GKD.shape
    hot_RGK = by_codebook(jax.nn.one_hot(nearest(z_BLD, codebook_GKD), num_codes), codebooks)
    return jnp.sum(hot_RGK, axis=0), jnp.einsum(
        "rgk,rgd->gkd", hot_RGK, by_codebook(z_BLD, codebooks)
    )


def follow(codebook_GKD, z_BLD, rate):
    """Moves each code by `rate` towards the mean of the encoder outputs that it stands for."""
    counts_GK, sums_GKD = used_by(codebook_GKD, z_BLD)
    counts_GK1 = counts_GK[..., None]
    means_GKD = jnp.where(counts_GK1 > 0, sums_GKD / jnp.maximum(counts_GK1, 1), codebook_GKD)
    return codebook_GKD + rate * (means_GKD - codebook_GKD)


def dead(counts_GK, threshold):
    """Codes used less than `threshold` times their fair share: bool [G,K]."""
    return counts_GK < threshold * jnp.mean(counts_GK, axis=-1, keepdims=True)


def reseed(codebook_GKD, dead_GK, z_BLD, rng):
    """Moves dead codes onto recent encoder outputs."""
    codebooks, num_codes, _ = codebook_GKD.shape
    fresh_GKD = init_codes(z_BLD, codebooks, num_codes, rng)
    return jnp.where(dead_GK[..., None], fresh_GKD, codebook_GKD)


def running_usage(usage_GK, counts_GK):
    """The running share of each code after a step's counts: float32 [G,K], summing to 1."""
    share_GK = counts_GK / jnp.sum(counts_GK, axis=-1, keepdims=True)
    return usage_GK + USAGE_RATE * (share_GK - usage_GK)


def health(usage_GK):
    """{"codes_alive": share of codes with at least a tenth of their fair use, 0..1;
    "perplexity_min": of the least used codebook, 1..K}, of the running usage."""
    perplexity_G = jnp.exp(-jnp.sum(usage_GK * jnp.log(usage_GK + 1e-9), axis=-1))
    alive = jnp.mean(usage_GK > ALIVE / usage_GK.shape[-1])
    return {"codes_alive": alive, "perplexity_min": jnp.min(perplexity_G)}
