"""lam.ops: image numbers, code statistics and probes against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lam.ops import codes, image, probe


def test_psnr_by_hand():
    assert image.psnr(np.float64(0.01)) == pytest.approx(20.0)
    assert image.psnr(np.float64(1.0)) == pytest.approx(0.0)
    np.testing.assert_allclose(image.psnr(np.array([0.1, 0.001])), [10.0, 30.0])


def test_psnr_of_identical_images_is_a_number():
    assert image.psnr(np.float64(0.0)) == pytest.approx(100.0)


def test_images_go_to_float_and_back_exactly():
    levels = np.arange(256, dtype=np.uint8)
    assert image.to_float(levels).dtype == np.float32
    assert image.to_float(levels).max() == 1.0
    np.testing.assert_array_equal(image.to_uint8(image.to_float(levels)), levels)
    np.testing.assert_array_equal(image.to_uint8(np.array([-1.0, 2.0])), [0, 255])


def test_image_functions_run_under_jit_and_agree():
    frames = np.arange(12, dtype=np.uint8).reshape(2, 6)
    back = jax.jit(lambda x: image.to_uint8(image.to_float(x)))(frames)
    np.testing.assert_array_equal(back, frames)
    assert float(jax.jit(image.psnr)(jnp.float32(0.01))) == pytest.approx(20.0, abs=1e-4)


TOKENS_NL = np.array([[0, 3], [0, 1], [2, 1], [0, 3]])


def test_counts_each_position_for_itself():
    np.testing.assert_array_equal(codes.counts(TOKENS_NL, 4), [[3, 0, 1, 0], [0, 2, 0, 2]])
    np.testing.assert_array_equal(codes.usage(codes.counts(TOKENS_NL, 4)), [2, 2])
    assert codes.unique_sequences(TOKENS_NL) == 3


def test_perplexity_counts_equally_used_codes():
    counts_LK = np.array([[5, 0, 0, 0], [3, 3, 0, 0], [2, 2, 2, 2], [0, 0, 0, 0]])
    np.testing.assert_allclose(codes.perplexity(counts_LK), [1, 2, 4, 1])


def test_one_hot_layout():
    hot = codes.one_hot(TOKENS_NL, 4)
    assert hot.shape == (4, 8)
    np.testing.assert_array_equal(hot[1], [1, 0, 0, 0, 0, 1, 0, 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_code_statistics_stay_in_their_bounds(samples, length, num_codes, seed):
    tokens_NL = np.random.default_rng(seed).integers(0, num_codes, (samples, length))
    counts_LK = codes.counts(tokens_NL, num_codes)
    assert (counts_LK.sum(axis=1) == samples).all()
    usage_L, perplexity_L = codes.usage(counts_LK), codes.perplexity(counts_LK)
    assert (perplexity_L <= usage_L + 1e-9).all()
    assert (perplexity_L >= 1 - 1e-9).all()
    assert 1 <= codes.unique_sequences(tokens_NL) <= samples


def test_code_statistics_agree_under_jit():
    counts_LK = jax.jit(codes.counts, static_argnums=1)(jnp.asarray(TOKENS_NL), 4)
    np.testing.assert_array_equal(counts_LK, codes.counts(TOKENS_NL, 4))
    wanted = codes.perplexity(codes.counts(TOKENS_NL, 4))
    np.testing.assert_allclose(jax.jit(codes.perplexity)(counts_LK), wanted, rtol=1e-6)


def linear_data(seed, samples=200, noise=0.0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(samples, 3))
    targets = features @ [[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]] + [5.0, -7.0]
    return features, targets + noise * rng.normal(size=targets.shape)


def test_probe_finds_the_line_and_does_not_punish_the_bias():
    features, targets = linear_data(0)
    weights_FD, bias_D = probe.fit(features, targets, ridge=1e-9)
    np.testing.assert_allclose(weights_FD, [[1, 0], [2, -1], [0, 3]], atol=1e-6)
    np.testing.assert_allclose(bias_D, [5, -7], atol=1e-6)
    weights_FD, bias_D = probe.fit(features, targets, ridge=1e12)
    np.testing.assert_allclose(weights_FD, 0, atol=1e-6)
    np.testing.assert_allclose(bias_D, targets.mean(axis=0), atol=1e-6)


def test_probe_equals_the_normal_equations():
    features, targets = linear_data(1, noise=1.0)
    augmented = np.c_[features, np.ones(len(features))]
    penalty = np.diag([3.0, 3.0, 3.0, 0.0])
    wanted = np.linalg.solve(augmented.T @ augmented + penalty, augmented.T @ targets)
    weights_FD, bias_D = probe.fit(features, targets, ridge=3.0)
    np.testing.assert_allclose(np.vstack([weights_FD, bias_D]), wanted, rtol=1e-9)


def test_r2_by_hand():
    targets = np.array([[0.0, 0.0], [2.0, 4.0]])
    assert probe.r2(targets, targets) == 1.0
    assert probe.r2(targets, np.tile(targets.mean(axis=0), (2, 1))) == 0.0
    predictions = np.array([[0.0, 0.0], [2.0, 2.0]])  # errors 0 and 4, spreads 2 and 8
    np.testing.assert_allclose(probe.r2_per_dim(targets, predictions), [1.0, 0.5])
    assert probe.r2(targets, predictions) == pytest.approx(0.6)
    assert np.isnan(probe.r2(np.ones((3, 1)), np.zeros((3, 1))))


def test_r2_is_against_the_mean_of_the_scored_targets():
    features, targets = linear_data(2)
    fitted = probe.fit(features * 0, targets)  # can only say the mean of its own set
    assert probe.score(fitted, features * 0, targets) == pytest.approx(0.0)
    assert probe.score(fitted, features * 0, targets + 10) < -1


def test_shuffling_keeps_the_sequences_and_follows_the_seed():
    tokens_NL = np.arange(40).reshape(20, 2)
    once, twice, other = (probe.shuffled(tokens_NL, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, twice)
    assert (once != other).any()
    np.testing.assert_array_equal(once[once[:, 0].argsort()], tokens_NL)


def test_bootstrap_agrees_with_resampling_by_hand():
    """The interval comes from sums of groups; here the same draws are built sample by sample."""
    features, targets = linear_data(3, samples=60, noise=2.0)
    predictions = probe.apply(probe.fit(features, targets), features)
    groups = np.repeat(np.arange(12), 5)
    low, high = probe.bootstrap_r2(targets, predictions, groups, resamples=50, seed=4)
    draws = np.random.default_rng(4).multinomial(12, np.full(12, 1 / 12), 50)
    scores = []
    for draw in draws:
        index = np.repeat(np.arange(60), np.repeat(draw, 5))
        scores.append(probe.r2(targets[index], predictions[index]))
    np.testing.assert_allclose([low, high], np.percentile(scores, [2.5, 97.5]), rtol=1e-9)


def test_bootstrap_widens_when_samples_of_a_group_are_copies():
    features, targets = linear_data(5, samples=30, noise=2.0)
    predictions = probe.apply(probe.fit(features, targets), features)
    many = [np.repeat(x, 10, axis=0) for x in (targets, predictions)]
    low, high = probe.bootstrap_r2(*many, np.arange(300))
    group_low, group_high = probe.bootstrap_r2(*many, np.repeat(np.arange(30), 10))
    assert group_high - group_low > 2 * (high - low)


def test_bootstrap_of_one_group_is_refused():
    with pytest.raises(ValueError, match="at least 2 groups, got 1"):
        probe.bootstrap_r2(np.ones((3, 1)), np.ones((3, 1)), ["a", "a", "a"])
