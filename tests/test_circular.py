"""lam.ops.circular: directions against scipy, by hand, and how often its test is wrong."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lam.ops import circular

EIGHT_82 = np.array([[np.cos(a), np.sin(a)] for a in np.arange(8) * np.pi / 4])


def test_octants_go_from_right_downwards():
    np.testing.assert_array_equal(circular.octant(EIGHT_82), np.arange(8))
    assert circular.OCTANTS[2] == "down"
    assert circular.octant(np.array([1.0, 0.41])) == 0
    assert circular.octant(np.array([1.0, -0.41])) == 0
    assert circular.octant(np.array([1.0, 0.42])) == 1


@pytest.mark.parametrize("vector", [[0, 0], [np.nan, 1], [np.inf, 0]])
def test_no_direction_is_no_octant(vector):
    assert circular.octant(np.array(vector, np.float64)) == -1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.integers(2, 30))
def test_resultants_are_scipys(seed, samples):
    angle_N = np.random.default_rng(seed).normal(1, 1.5, samples)
    found = circular.resultants(angle_N, np.zeros(samples, int), 1)
    mean = scipy.stats.circmean(angle_N, np.pi, -np.pi)
    assert math.cos(found["direction"][0] - mean) == pytest.approx(1, abs=1e-4)
    variance, axial = scipy.stats.circvar(angle_N), scipy.stats.circvar(2 * angle_N)
    assert found["length"][0] == pytest.approx(1 - variance, abs=1e-5)
    assert found["axial"][0] == pytest.approx(1 - axial, abs=1e-5)
    debiased = (samples * (1 - variance) ** 2 - 1) / (samples - 1)
    assert found["length2"][0] == pytest.approx(debiased, abs=1e-4)


def test_kinds_are_apart_and_others_do_not_count():
    angle_N = np.array([0.0, 0.0, np.pi / 2, np.pi / 2, 1.0, np.nan])
    found = circular.resultants(angle_N, np.array([0, 0, 1, 1, -1, 1]), 3)
    np.testing.assert_allclose(found["direction"], [0, np.pi / 2, np.nan], atol=1e-6)
    np.testing.assert_array_equal(found["count"], [2, 2, 0])
    assert np.isnan(found["length2"][2])
    assert np.isnan(found["p"][2])


def test_opposed_motions_are_axial():
    angle_N = np.tile([0.3, 0.3 + np.pi], 10)
    found = circular.resultants(angle_N, np.zeros(20, int), 1)
    assert found["length"][0] < 1e-5
    assert found["axial"][0] == pytest.approx(1, abs=1e-5)


def test_weights_are_numbers_of_samples_and_pairs_with_itself_do_not_count():
    angle_N, kind_N = np.array([0.0, 1.0, 2.5]), np.zeros(3, int)
    weighed = circular.resultants(angle_N, kind_N, 1, np.array([1.0, 3.0, 0.0]))
    repeated = circular.resultants(np.array([0.0, 1, 1, 1]), np.zeros(4, int), 1)
    for name in ("direction", "length", "axial", "count"):
        assert weighed[name][0] == pytest.approx(float(repeated[name][0]), abs=1e-6)
    assert weighed["length2"][0] == pytest.approx(math.cos(1.0), abs=1e-5)


def mean_cosine_across(angle_N, episode_N):
    """Mean cosine of all pairs of samples from different episodes."""
    apart_NN = episode_N[:, None] != episode_N[None]
    return np.cos(angle_N[:, None] - angle_N[None])[apart_NN].mean()


def test_given_episodes_only_pairs_across_them_count():
    rng = np.random.default_rng(0)
    episode_N = rng.integers(6, size=40)
    angle_N, kind_N = rng.normal(0, 1, 40), rng.integers(-1, 2, size=40)
    found = circular.resultants(angle_N, kind_N, 2, None, episode_N, 6)
    for kind in (0, 1):
        of = kind_N == kind
        expected = mean_cosine_across(angle_N[of], episode_N[of])
        assert found["length2"][kind] == pytest.approx(expected, abs=1e-5)


def test_one_episode_says_nothing_across_episodes():
    found = circular.resultants(np.zeros(5), np.zeros(5, int), 1, None, np.zeros(5, int), 2)
    assert np.isnan(found["length2"][0])


@functools.partial(jax.jit, static_argnums=2)
def of_rounds(angle_RN, episode_N, episodes):
    """length2 and p of each round, samples of episodes; and as if they were independent."""
    kind_N = jnp.zeros(len(episode_N), int)

    def one(angle_N):
        found = circular.resultants(angle_N, kind_N, 1, None, episode_N, episodes)
        naive = circular.resultants(angle_N, kind_N, 1)
        return [numbers[name][0] for numbers in (found, naive) for name in ("length2", "p")]

    return jax.vmap(one)(angle_RN)


@pytest.mark.parametrize("episodes", [5, 20])
def test_rayleigh_is_wrong_as_often_as_it_says(episodes):
    """Episodes of uniform direction, all samples almost as their episode."""
    rng = np.random.default_rng(1)
    angle_RE = rng.uniform(-np.pi, np.pi, (2000, episodes))
    angle_RN = np.repeat(angle_RE, 4, axis=1) + 0.3 * rng.normal(size=(2000, 4 * episodes))
    numbers = of_rounds(angle_RN, np.repeat(np.arange(episodes), 4), episodes)
    length2_R, p_R, naive_length2_R, naive_p_R = map(np.asarray, numbers)
    assert np.mean(p_R < 0.05) == pytest.approx(0.05, abs=0.015)
    assert abs(np.mean(length2_R)) < 0.3 / episodes
    assert np.mean(naive_p_R < 0.05) > 0.3  # who takes samples for independent is fooled
    assert np.mean(naive_length2_R) > 0.5 / episodes


def test_rayleigh_by_hand():
    """exp(sqrt(1 + 4n + 4(n^2 - (nR)^2)) - (1 + 2n)), Zar."""
    n, length = 25, 0.4
    expected = math.exp(math.sqrt(1 + 4 * n + 4 * (n**2 - (n * length) ** 2)) - (1 + 2 * n))
    assert circular.rayleigh_p(jnp.float32(n), jnp.float32(length)) == pytest.approx(expected, 1e-4)
