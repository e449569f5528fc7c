"""The quantiser: nearest codes, NSVQ's noise, and the three causes of collapse, each gone.

B batch, L positions, G codebooks, K codes, D width.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lam.models import quantizers

B, L, K, D = 64, 4, 8, 16


def outputs(seed=0, spread=0.2):
    """Encoder outputs with the small spread that LAPA's encoder starts with: [B,L,D]."""
    return spread * jax.random.normal(jax.random.key(seed), (B, L, D))


def test_nearest_is_the_nearest_by_brute_force():
    z, codebook = outputs(spread=1.0), jax.random.normal(jax.random.key(1), (L, K, D))
    distances = np.linalg.norm(np.asarray(z)[:, :, None] - np.asarray(codebook)[None], axis=-1)
    np.testing.assert_array_equal(quantizers.nearest(z, codebook), distances.argmin(-1))


def test_lookup_reads_each_positions_own_codebook_or_the_shared_one():
    tokens = jnp.array([[0, 1, 2, 3]])
    own = jnp.arange(L * K * D, dtype=jnp.float32).reshape(L, K, D)
    for codebook in (own, own[:1]):
        found = quantizers.lookup(tokens, codebook)
        for position in range(L):
            expected = codebook[position % len(codebook), position]
            np.testing.assert_array_equal(found[0, position], expected)


def test_nsvq_noise_is_as_long_as_the_error_and_passes_the_gradient():
    z, codes = outputs(), outputs(1)
    q = quantizers.substitute_noise(z, codes, jax.random.key(2))
    lengths, errors = (np.linalg.norm(x, axis=-1) for x in (q - z, z - codes))
    np.testing.assert_allclose(lengths, errors, rtol=1e-4)
    grad_z, grad_codes = jax.grad(
        lambda z, c: jnp.sum(quantizers.substitute_noise(z, c, jax.random.key(2)) ** 2), (0, 1)
    )(z, codes)
    assert np.abs(grad_z).min(axis=(0, 1)).max() > 0
    assert np.linalg.norm(grad_codes) > 0


def test_codes_start_on_the_data_so_that_all_are_used():
    """Cause 1: codes of norm 4 around outputs of norm 0.8 leave one code for everything."""
    z = outputs()
    published = jax.random.normal(jax.random.key(3), (1, K, D))
    from_data = quantizers.init_codes(z, L, K, jax.random.key(3))
    used = {
        name: len(np.unique(quantizers.nearest(z, codebook)))
        for name, codebook in {"published": published, "data": from_data}.items()
    }
    assert used["data"] == K
    assert used["published"] < K


def test_every_occurrence_is_counted():
    """Cause 2: `counts[index] += 1` with repeated indices counts 1."""
    tokens = jnp.zeros((B, L), jnp.int32)
    np.testing.assert_array_equal(quantizers.count(tokens, L, K)[:, 0], np.full(L, B))
    np.testing.assert_array_equal(quantizers.count(tokens, 1, K)[:, 0], [B * L])
    assert quantizers.count(tokens, L, K).sum() == B * L


@pytest.mark.parametrize("codebooks", [L, 1])
def test_reseeded_codes_differ_and_come_alive(codebooks):
    """Cause 3: replacement noise of 1e-12 vanishes in float32 and leaves eight equal codes."""
    z = outputs()
    codebook = 100.0 + jnp.zeros((codebooks, K, D))
    codebook = codebook.at[:, 0].set(quantizers.by_codebook(z, codebooks)[0])
    counts = quantizers.count(quantizers.nearest(z, codebook), codebooks, K)
    moved = quantizers.reseed(codebook, counts, z, jax.random.key(4), threshold=0.1)
    np.testing.assert_array_equal(moved[:, 0], codebook[:, 0])
    for codes in np.asarray(moved):
        assert len(np.unique(codes, axis=0)) == K
    after = quantizers.count(quantizers.nearest(z, moved), codebooks, K)
    assert (after > 0).all()


def test_codes_in_use_stay():
    z = outputs()
    codebook = quantizers.init_codes(z, L, K, jax.random.key(5))
    counts = jnp.full((L, K), 10.0)
    moved = quantizers.reseed(codebook, counts, z, jax.random.key(6), threshold=0.1)
    np.testing.assert_array_equal(moved, codebook)


def test_fewer_outputs_than_codes_still_give_different_codes():
    codes = np.asarray(quantizers.init_codes(outputs()[:3], L, K, jax.random.key(7)))
    assert all(len(np.unique(c, axis=0)) == K for c in codes)
