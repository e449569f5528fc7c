"""lam.ops.draws and lam.ops.stats: draws of whole episodes, intervals that cover, p that holds."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lam.ops import draws, information, stats


def layout(lengths_DE):
    """Episode, domain and step of samples in random order; lengths of episodes by domain."""
    parts = [
        (f"{domain}/{number}", f"domain {domain}", step)
        for domain, lengths_E in enumerate(lengths_DE)
        for number, length in enumerate(lengths_E)
        for step in range(length)
    ]
    order = np.random.default_rng(0).permutation(len(parts))
    episode_N, domain_N, step_N = (np.array(column)[order] for column in zip(*parts, strict=True))
    return episode_N, domain_N, step_N


lengths = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=12), min_size=1, max_size=3)


@settings(max_examples=30, deadline=None)
@given(lengths, st.integers(0, 99))
def test_permutations_keep_episodes_whole_and_stay_in_their_domain(lengths_DE, seed):
    episode_N, domain_N, step_N = layout(lengths_DE)
    for index_N in draws.permutations(episode_N, domain_N, step_N, 3, seed):
        np.testing.assert_array_equal(domain_N[index_N], domain_N)
        for name in np.unique(episode_N):
            # one donor gives all that it has or all that is asked for; the rest may be filled
            of = episode_N == name
            donors = np.unique(episode_N[index_N[of]])
            given = [len(set(index_N[of][episode_N[index_N[of]] == donor])) for donor in donors]
            lengths = [np.sum(episode_N == donor) for donor in donors]
            assert any(n == min(of.sum(), most) for n, most in zip(given, lengths, strict=True))


def test_permutations_of_equally_long_episodes_keep_every_sample_and_step():
    episode_N, domain_N, step_N = layout([[5] * 10, [5] * 9])
    for index_N in draws.permutations(episode_N, domain_N, step_N, 5):
        np.testing.assert_array_equal(np.sort(index_N), np.arange(len(index_N)))
        np.testing.assert_array_equal(step_N[index_N], step_N)


def test_donors_are_of_like_length():
    episode_N, domain_N, step_N = layout([[3] * 8 + [6] * 8 + [20] * 8])
    length_N = np.array([np.sum(episode_N == name) for name in episode_N])
    for index_N in draws.permutations(episode_N, domain_N, step_N, 5):
        np.testing.assert_array_equal(length_N[index_N], length_N)
        assert (index_N != np.arange(len(index_N))).mean() > 0.5


def test_the_single_episode_of_a_domain_begins_elsewhere():
    episode_N, domain_N, step_N = layout([[6]])
    order = np.argsort(step_N)
    found_RN = step_N[draws.permutations(episode_N, domain_N, step_N, 60)][:, order]
    assert len(np.unique(found_RN, axis=0)) == 6
    assert set(np.unique(np.diff(found_RN, axis=1) % 6)) == {1}  # the run of steps stays whole


@pytest.mark.parametrize("draw", ["permutations_RN", "labels_RN", "bootstrap_RN", "jackknife_GN"])
def test_draws_are_a_function_of_the_seed(draw):
    columns = layout([[5] * 10, [4] * 9])
    first, same, other = (getattr(draws.Sampling(*columns, 7, 7, seed), draw) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@settings(max_examples=20, deadline=None)
@given(lengths, st.integers(0, 99))
def test_domains_are_dealt_out_to_whole_episodes(lengths_DE, seed):
    episode_N, domain_N, _ = layout(lengths_DE)
    first_E = np.unique(episode_N, return_index=True)[1]
    for index_N in draws.label_permutations(episode_N, domain_N, 3, seed):
        dealt_N = domain_N[index_N]
        for name in np.unique(episode_N):
            assert len(set(dealt_N[episode_N == name])) == 1
        np.testing.assert_array_equal(np.sort(dealt_N[first_E]), np.sort(domain_N[first_E]))


@settings(max_examples=20, deadline=None)
@given(lengths, st.integers(0, 99))
def test_a_bootstrap_keeps_the_number_of_episodes_of_each_domain(lengths_DE, seed):
    episode_N, domain_N, _ = layout(lengths_DE)
    weight_RN = draws.bootstrap(episode_N, domain_N, 4, seed)
    first_E = np.unique(episode_N, return_index=True)[1]
    for name in np.unique(episode_N):
        assert (np.ptp(weight_RN[:, episode_N == name], axis=1) == 0).all()
    for number, lengths_E in enumerate(lengths_DE):
        of_E = first_E[domain_N[first_E] == f"domain {number}"]
        np.testing.assert_allclose(weight_RN[:, of_E].sum(axis=1), len(lengths_E), rtol=1e-5)


def test_the_jackknife_leaves_out_each_episode_once():
    episode_N, domain_N, step_N = layout([[3] * 30, [2] * 30])
    left_GN = draws.Sampling(episode_N, domain_N, step_N).jackknife_GN
    assert len(left_GN) == draws.GROUPS
    np.testing.assert_array_equal((left_GN == 0).sum(axis=0), 1)
    for name in np.unique(episode_N):
        assert (np.ptp(left_GN[:, episode_N == name], axis=1) == 0).all()


def test_an_episode_of_two_domains_is_refused():
    with pytest.raises(ValueError, match="two domains"):
        draws.bootstrap(np.array(["a", "a"]), np.array(["x", "y"]), 1)


def test_p_values_by_hand():
    null_R = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9])
    assert stats.p_value(8, null_R) == pytest.approx(0.3)
    assert stats.p_value(2, null_R, "less") == pytest.approx(0.3)
    assert stats.p_value(2, null_R, "both") == pytest.approx(0.6)
    assert stats.p_value(5, null_R, "both") == 1
    assert np.isnan(stats.p_value(np.nan, null_R))
    assert stats.p_value(8, np.append(null_R, np.nan)) == pytest.approx(0.3)
    np.testing.assert_allclose(stats.p_value([0, 10], null_R[:, None]), [1, 0.1])


def test_benjamini_hochberg_is_scipys():
    p_T = np.random.default_rng(0).random(20) ** 3
    q_T = stats.benjamini_hochberg(np.append(p_T, np.nan))
    np.testing.assert_allclose(q_T[:-1], scipy.stats.false_discovery_control(p_T))
    assert np.isnan(q_T[-1])


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(0).normal(size=12)
    left = (values.sum() - values) / 11
    known = scipy.stats.t.interval(0.95, 11, values.mean(), scipy.stats.sem(values))
    np.testing.assert_allclose(stats.jackknife(values.mean(), left), known, rtol=1e-3)


def test_between_share_is_that_of_an_analysis_of_variance_and_weights_count():
    """Epsilon squared of one dim from scipy's F: (F - 1) between / (F between + within)."""
    rng = np.random.default_rng(0)
    kind_N, number_N = rng.integers(4, size=60), rng.integers(3, size=60)
    value_N = rng.normal(size=60) + kind_N + 100

    def known(kind_N, value_N):
        f = scipy.stats.f_oneway(*(value_N[kind_N == kind] for kind in range(4))).statistic
        return (f - 1) * 3 / (f * 3 + len(kind_N) - 4)

    found = stats.between_share(value_N[:, None], kind_N, 5)
    assert found == pytest.approx(known(kind_N, value_N), abs=1e-4)
    found = stats.between_share(value_N[:, None], kind_N, 5, jnp.array(number_N, jnp.float32))
    repeated = known(np.repeat(kind_N, number_N), np.repeat(value_N, number_N))
    assert found == pytest.approx(repeated, abs=1e-4)


def test_between_share_of_all_of_half_and_of_nothing():
    rng = np.random.default_rng(0)
    kind_N = rng.integers(0, 5, 3000)
    values_N2 = np.stack([kind_N, kind_N**2], axis=1) + 0.0
    assert stats.between_share(values_N2, kind_N, 5) == pytest.approx(1)
    half_N1 = values_N2[:, :1] + rng.normal(size=(3000, 1)) * values_N2[:, 0].std()
    assert stats.between_share(half_N1, kind_N, 5) == pytest.approx(0.5, abs=0.05)
    chance = [
        stats.between_share(rng.normal(size=(80, 2)), rng.integers(0, 40, 80), 40)
        for _ in range(50)
    ]
    assert abs(np.mean(chance)) < 0.05  # although there are only two samples of a kind
    assert np.isnan(stats.between_share(np.arange(4.0)[:, None], np.arange(4), 4))
    assert np.isnan(stats.between_share(np.ones((5, 1)), kind_N[:5], 5))


def mean_of(labels_N, weight_N):
    return jnp.sum(labels_N * weight_N) / jnp.sum(weight_N)


def table(labels_N, weight_N, other_N, size):
    return information.crosstab(labels_N, other_N, size, size, weight_N)


def test_a_statistic_of_draws_is_that_of_each_draw():
    episode_N, domain_N, step_N = layout([[4] * 10, [3] * 9])
    rng = np.random.default_rng(1)
    labels_N, other_N = rng.integers(3, size=(2, len(episode_N)))
    sampling = draws.Sampling(episode_N, domain_N, step_N, 9, 7)
    drawn = stats.draw(table, labels_N, sampling, other_N, bootstrap=True, size=3)
    for index_N, found in zip(sampling.permutations_RN, drawn.null_R, strict=True):
        np.testing.assert_array_equal(found, information.crosstab(labels_N[index_N], other_N, 3, 3))
    for weight_N, found in zip(sampling.bootstrap_RN, drawn.weighted_W, strict=True):
        expected = information.crosstab(labels_N, other_N, 3, 3, weight_N)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(drawn.value, information.crosstab(labels_N, other_N, 3, 3))


def test_agreement_is_the_adjusted_information_of_each_position():
    columns = layout([[4] * 10, [3] * 9])
    rng = np.random.default_rng(1)
    labels_NL, other_N = rng.integers(3, size=(67, 2)), rng.integers(-1, 3, size=67)
    labels_NL[:, 1] = np.maximum(other_N, 0)
    sampling = draws.Sampling(*columns, 19)
    found = stats.agreement(labels_NL, other_N, sampling, 3, 3)
    tables = [information.crosstab(labels_N, other_N, 3, 3) for labels_N in labels_NL.T]
    np.testing.assert_allclose(found.value, information.adjusted_mutual_information(tables))
    assert found.value[1] == pytest.approx(1)
    assert found.estimate().p[1] == 1 / 20
    first = stats.agreement(labels_NL[:, 0], other_N, sampling, 3, 3).estimate()
    np.testing.assert_allclose(first, [x[0] for x in found.estimate()])


@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("episodes", [8, 30])
def test_intervals_cover_the_truth(episodes, bootstrap):
    """Two domains of 0 and 1 on average, values alike within episodes; 400 simulations.

    A percentile bootstrap of 2 x 8 episodes is known to cover somewhat less than it says.
    """
    columns = layout([[5] * episodes] * 2)
    rng = np.random.default_rng(3)
    episode_N = np.unique(columns[0], return_inverse=True)[1]
    mean_N = (columns[1] == "domain 1") * 1.0
    sampling = draws.Sampling(*columns, 1, 199)
    weight_WN = sampling.bootstrap_RN if bootstrap else sampling.jackknife_GN
    bounds = []
    for _ in range(400):
        values_N = mean_N + rng.normal(size=2 * episodes)[episode_N] + rng.normal(size=len(mean_N))
        weighed_W = weight_WN @ values_N / weight_WN.sum(axis=1)
        both = stats.percentiles(weighed_W) if bootstrap else stats.jackknife(
            values_N.mean(), weighed_W
        )  # fmt: skip
        bounds.append(both)
    low, high = np.array(bounds).T
    covered = np.mean((low < 0.5) & (high > 0.5))
    assert 0.92 - 0.02 * (bootstrap and episodes == 8) <= covered <= 0.98


def clustered(seed, strength):
    """Tokens and other labels alike within episodes; `strength` of the tokens follow the label."""
    rng = np.random.default_rng(seed)
    other_N, token_N = (rng.integers(4, size=48).repeat(6) for _ in range(2))
    for column_N in (other_N, token_N):
        change_N = rng.random(288) < 0.3
        column_N[change_N] = rng.integers(4, size=change_N.sum())
    follows_N = rng.random(288) < strength
    return np.where(follows_N, other_N, token_N), other_N


@pytest.fixture(scope="module")
def sampling():
    """48 episodes of 6 samples in three domains, as `clustered` has them."""
    episode_N = np.arange(48).repeat(6)
    return draws.Sampling(episode_N, episode_N // 16, np.tile(np.arange(6), 48), 199)


def test_p_of_agreement_holds_for_samples_that_are_alike_within_episodes(sampling):
    """400 simulations; a plain shuffle of the samples would say p <= 0.05 most of the time."""
    found = [
        stats.agreement(*clustered(seed, 0.0), sampling, 4, 4).estimate() for seed in range(400)
    ]
    p, value = np.array([estimated.p for estimated in found]), np.mean([x.value for x in found])
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.02)
    assert abs(value - np.mean([x.null for x in found])) < 0.002
    shuffle_RN = np.array([np.random.default_rng(r).permutation(288) for r in range(199)])
    naive = [
        stats.agreement(*clustered(seed, 0.0), sampling, 4, 4, shuffle_RN).estimate().p
        for seed in range(100)
    ]
    assert np.mean(np.array(naive) <= 0.05) > 0.3


def test_intervals_of_agreement_cover_the_truth(sampling):
    """200 simulations; the truth is the mean over them, whose bias is that of the estimate."""
    found = [
        stats.agreement(*clustered(seed, 0.6), sampling, 4, 4).estimate() for seed in range(200)
    ]
    value, low, high = np.array([estimated[:3] for estimated in found]).T
    covered = np.mean((low < value.mean()) & (value.mean() < high))
    assert 0.91 <= covered <= 0.99
    assert all(estimated.p == 1 / 200 for estimated in found)
