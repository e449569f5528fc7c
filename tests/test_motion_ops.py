"""Displaced copies and cost volumes against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np

from lam.ops import motion


def test_translate_moves_whole_pixels_right_and_down():
    image = jax.random.uniform(jax.random.key(0), (1, 8, 10, 3))
    moved = motion.translate(image, jnp.array([[[2.0, 1.0]]]), jnp.full((1, 1, 2), 0.05))
    np.testing.assert_allclose(moved[0, 0, 1:, 2:], image[0, :-1, :-2], atol=1e-6)
    np.testing.assert_allclose(moved[0, 0, 0, 2:], image[0, 0, :-2], atol=1e-6)  # border goes on


def test_translate_blurs_by_its_uncertainty_and_keeps_constants():
    shift, sigma = jnp.array([[[0.7, -1.3]]]), jnp.full((1, 1, 2), 1.5)
    flat = motion.translate(jnp.full((1, 16, 16, 1), 0.4), shift, sigma)
    np.testing.assert_allclose(flat, 0.4, atol=1e-6)
    spot = motion.translate(jnp.zeros((1, 17, 17, 1)).at[0, 8, 8].set(1.0), shift, sigma)[0, 0]
    weights = np.asarray(spot[..., 0])
    rows, columns = np.mgrid[:17, :17]
    np.testing.assert_allclose((weights * columns).sum(), 8 + 0.7, atol=1e-2)
    np.testing.assert_allclose((weights * rows).sum(), 8 - 1.3, atol=1e-2)
    np.testing.assert_allclose((weights * (columns - 8.7) ** 2).sum(), 1.5**2, rtol=2e-2)


def test_a_wide_uncertainty_finds_a_far_displacement():
    """The gradient of the error with respect to the shift points at a target 6 pixels away."""
    image = jnp.zeros((1, 32, 32, 1)).at[0, 14:18, 10:14].set(1.0)
    target = jnp.roll(image, 6, axis=2)

    def error(shift, sigma):
        sigma = jnp.full((1, 1, 2), sigma)
        return jnp.mean((motion.translate(image, shift, sigma)[:, 0] - target) ** 2)

    wide, narrow = (jax.grad(error)(jnp.zeros((1, 1, 2)), s)[0, 0, 0] for s in (3.0, 0.3))
    assert wide < 0
    assert abs(narrow) < 1e-3 * abs(wide)


def test_correlate_is_the_dot_product_with_every_neighbour():
    first, second = jax.random.normal(jax.random.key(1), (2, 2, 5, 6, 3))
    radius = 2
    padded = np.pad(second, ((0, 0), (radius, radius), (radius, radius), (0, 0)))
    expected = np.zeros((2, 5, 6, 25))
    for i, (dy, dx) in enumerate(np.ndindex(5, 5)):
        expected[..., i] = (np.asarray(first) * padded[:, dy : dy + 5, dx : dx + 6]).sum(
            -1
        ) / 3**0.5
    np.testing.assert_allclose(motion.correlate(first, second, radius), expected, atol=1e-5)
