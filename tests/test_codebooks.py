"""Codebooks: nearest codes, and the three causes of collapse, each shown and each gone.

The published way is `quantizers.NSVQLapa`, ours `quantizers.NSVQ`; what they do is compared.

B batch, L positions, G codebooks, K codes, D width.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lam.models import codebooks
from lam.models.quantizers import NSVQ, NSVQLapa

B, L, K, D = 64, 4, 8, 16


def outputs(seed=0, spread=0.2):
    """Encoder outputs with the small spread that LAPA's encoder starts with: [B,L,D]."""
    return spread * jax.random.normal(jax.random.key(seed), (B, L, D))


def test_nearest_is_the_nearest_by_brute_force():
    z, codebook = outputs(spread=1.0), jax.random.normal(jax.random.key(1), (L, K, D))
    distances = np.linalg.norm(np.asarray(z)[:, :, None] - np.asarray(codebook)[None], axis=-1)
    np.testing.assert_array_equal(codebooks.nearest(z, codebook), distances.argmin(-1))


def test_lookup_reads_each_positions_own_codebook_or_the_shared_one():
    tokens = jnp.array([[0, 1, 2, 3]])
    own = jnp.arange(L * K * D, dtype=jnp.float32).reshape(L, K, D)
    for codebook in (own, own[:1]):
        found = codebooks.lookup(tokens, codebook)
        for position in range(L):
            expected = codebook[position % len(codebook), position]
            np.testing.assert_array_equal(found[0, position], expected)


def test_codes_start_on_the_data_so_that_all_are_used():
    """Cause 1: codes of norm 4 around outputs of norm 0.8 leave one code for nearly everything."""
    z = outputs()
    used = {}
    for kind in (NSVQLapa, NSVQ):
        codebook = kind.begin(z, 1, K, jax.random.key(3))
        counts_K = np.bincount(np.ravel(codebooks.nearest(z, codebook)), minlength=K)
        used[kind] = counts_K.max() / counts_K.sum()
    assert used[NSVQLapa] > 0.6
    assert used[NSVQ] < 0.4
    assert len(np.unique(codebooks.nearest(z, NSVQ.begin(z, L, K, jax.random.key(3))))) == K


def test_every_occurrence_is_counted():
    """Cause 2: `counts[index] += 1` with repeated indices counts 1."""
    tokens = jnp.zeros((B, L), jnp.int32)
    np.testing.assert_array_equal(NSVQLapa.count(tokens, 1, K)[:, 0], [1])
    np.testing.assert_array_equal(NSVQ.count(tokens, L, K)[:, 0], np.full(L, B))
    np.testing.assert_array_equal(NSVQ.count(tokens, 1, K)[:, 0], [B * L])
    assert NSVQ.count(tokens, L, K).sum() == B * L


def test_replaced_codes_differ():
    """Cause 3: replacement noise of 1e-12 vanishes in float32 and leaves equal codes."""
    z, codebook = outputs(), jax.random.normal(jax.random.key(3), (1, K, D))
    counts = jnp.zeros((1, K)).at[0, 5].set(B * L)
    rows = {}
    for kind in (NSVQLapa, NSVQ):
        replaced, dead = kind.reseed(codebook, counts, 0.1, z, jax.random.key(4))
        np.testing.assert_array_equal(dead[0], np.arange(K) != 5)
        np.testing.assert_array_equal(replaced[0, 5], codebook[0, 5])
        rows[kind] = len(np.unique(np.asarray(replaced[0]), axis=0))
    assert rows == {NSVQLapa: 1, NSVQ: K}


@pytest.mark.parametrize("kind", [NSVQLapa, NSVQ])
def test_the_published_codebook_collapses_and_ours_does_not(kind):
    """150 steps of upkeep on outputs of an encoder at its start, one shared codebook."""
    codebook = kind.begin(outputs(), 1, K, jax.random.key(3))
    counts, usage = jnp.zeros((1, K)), jnp.full((1, K), 1 / K)

    @jax.jit
    def step(number, codebook, counts, usage):
        z, rng = outputs(number), jax.random.fold_in(jax.random.key(4), number)
        tokens = codebooks.nearest(z, codebook)
        counts += kind.count(tokens, 1, K)
        usage = codebooks.running_usage(usage, codebooks.count(tokens, 1, K))
        codebook, _ = kind.move(codebook, {}, z, 0.05)
        fresh, _ = kind.reseed(codebook, counts, 0.1, z, rng)
        due = kind.due(number, 50, 150)
        return jnp.where(due, fresh, codebook), jnp.where(due, 0.0, counts), usage

    for number in range(1, 151):
        codebook, counts, usage = step(number, codebook, counts, usage)
    different = len(np.unique(np.asarray(codebook[0]), axis=0))
    health = codebooks.health(usage)
    if kind is NSVQ:
        assert different == K
        assert health["codes_alive"] == 1
        assert health["perplexity_min"] > 0.8 * K
    else:
        assert different < K / 2
        assert health["codes_alive"] < 0.5
        assert health["perplexity_min"] < 0.3 * K


@pytest.mark.parametrize("count", [L, 1])
def test_reseeded_codes_differ_and_come_alive(count):
    """Cause 3: replacement noise of 1e-12 vanishes in float32 and leaves eight equal codes."""
    z = outputs()
    codebook = 100.0 + jnp.zeros((count, K, D))
    codebook = codebook.at[:, 0].set(codebooks.by_codebook(z, count)[0])
    counts = codebooks.count(codebooks.nearest(z, codebook), count, K)
    moved = codebooks.reseed(codebook, codebooks.dead(counts, 0.1), z, jax.random.key(4))
    np.testing.assert_array_equal(moved[:, 0], codebook[:, 0])
    for codes in np.asarray(moved):
        assert len(np.unique(codes, axis=0)) == K
    after = codebooks.count(codebooks.nearest(z, moved), count, K)
    assert (after > 0).all()


def test_codes_in_use_stay():
    z = outputs()
    codebook = codebooks.init_codes(z, L, K, jax.random.key(5))
    counts = jnp.full((L, K), 10.0)
    moved = codebooks.reseed(codebook, codebooks.dead(counts, 0.1), z, jax.random.key(6))
    np.testing.assert_array_equal(moved, codebook)


def test_fewer_outputs_than_codes_still_give_different_codes():
    codes = np.asarray(codebooks.init_codes(outputs()[:3], L, K, jax.random.key(7)))
    assert all(len(np.unique(c, axis=0)) == K for c in codes)
