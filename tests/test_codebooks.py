"""Codebooks: nearest codes, and the three causes of collapse, each gone.

B batch, L positions, G codebooks, K codes, D width.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lam.models import codebooks

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
    """Cause 1: codes of norm 4 around outputs of norm 0.8 leave one code for everything."""
    z = outputs()
    published = jax.random.normal(jax.random.key(3), (1, K, D))
    from_data = codebooks.init_codes(z, L, K, jax.random.key(3))
    used = {
        name: len(np.unique(codebooks.nearest(z, codebook)))
        for name, codebook in {"published": published, "data": from_data}.items()
    }
    assert used["data"] == K
    assert used["published"] < K


def test_every_occurrence_is_counted():
    """Cause 2: `counts[index] += 1` with repeated indices counts 1."""
    tokens = jnp.zeros((B, L), jnp.int32)
    np.testing.assert_array_equal(codebooks.count(tokens, L, K)[:, 0], np.full(L, B))
    np.testing.assert_array_equal(codebooks.count(tokens, 1, K)[:, 0], [B * L])
    assert codebooks.count(tokens, L, K).sum() == B * L


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
