"""lam.ops.information: against scipy, recorded values of scikit-learn and R, its own rules."""

import itertools
import math

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lam.ops import information

# of the manual of R's package entropy; Miller-Madow there is 2.110 + 7 / (2 * 19)
COUNTS_K = np.array([4, 2, 3, 0, 2, 4, 0, 0, 2, 1, 1])
labels = st.lists(st.integers(0, 4), min_size=2, max_size=40)


def table(a_N, b_N, A=5, B=5):
    return np.asarray(information.crosstab(np.array(a_N), np.array(b_N), A, B))


def ami(a_N, b_N, A=5, B=5):
    return float(information.adjusted_mutual_information(table(a_N, b_N, A, B)))


def test_entropies_of_the_example_of_r():
    plugin = scipy.stats.entropy(COUNTS_K)
    assert information.entropy(COUNTS_K) == pytest.approx(plugin, abs=1e-12)
    assert information.entropy(COUNTS_K) == pytest.approx(1.968382, abs=1e-6)
    assert information.entropy_mm(COUNTS_K) == pytest.approx(1.968382 + 7 / 38, abs=1e-6)


def test_crosstab_counts_and_weighs():
    a_N, b_N, weight_N = np.array([0, 1, 1, -1]), np.array([2, 0, 0, 1]), np.array([1, 2, 3, 4.0])
    np.testing.assert_array_equal(table(a_N, b_N, 2, 3), [[0, 0, 1], [2, 0, 0]])
    weighed = information.crosstab(a_N, b_N, 2, 3, weight_N)
    np.testing.assert_array_equal(weighed, [[0, 0, 1], [5, 0, 0]])


def test_crosstab_is_scipys():
    rng = np.random.default_rng(0)
    a_N, b_N = rng.integers(5, size=200), rng.integers(5, size=200)
    np.testing.assert_array_equal(table(a_N, b_N), scipy.stats.contingency.crosstab(a_N, b_N).count)


def test_mutual_information_is_half_the_g_statistic():
    counts_AB = np.array([[8, 2, 0], [1, 5, 4]])
    g = scipy.stats.chi2_contingency(counts_AB, lambda_="log-likelihood", correction=False)
    assert information.mutual_information(counts_AB) == pytest.approx(g.statistic / 2 / 20)


def test_what_is_left_of_a_when_b_is_known():
    same_AB, apart_AB = np.diag([50.0, 50.0]), np.full((2, 2), 25.0)
    assert information.conditional_entropy_mm(same_AB) == pytest.approx(0)
    # H(a) is log 2; 3 labels too many of 4 are corrected, and 1 of 2
    expected = math.log(2) + 3 / 200 - 1 / 200
    assert information.conditional_entropy_mm(apart_AB) == pytest.approx(expected)


def exact_expectation(a_A, b_B):
    """E[MI] from the definition, by scipy's hypergeometric distribution."""
    total, found = int(sum(a_A)), 0.0
    for a, b in itertools.product(a_A, b_B):
        for n in range(1, min(a, b) + 1):
            chance = scipy.stats.hypergeom.pmf(n, total, a, b)
            found += chance * n / total * math.log(total * n / (a * b)) if chance else 0
    return found


@pytest.mark.parametrize("margins", [((3, 7), (5, 5)), ((1, 30, 9), (20, 13, 7)), ((4,), (2, 2))])
def test_expected_mutual_information_is_the_hypergeometric_mean(margins):
    a_A, b_B = margins
    rng = np.random.default_rng(0)
    drawn_AB = scipy.stats.random_table.rvs(a_A, b_B, random_state=rng)
    found = information.expected_mutual_information(drawn_AB)
    assert found == pytest.approx(exact_expectation(a_A, b_B), abs=1e-12)


def test_expected_mutual_information_of_large_tables_is_that_of_random_ones():
    a_A, b_B = [3000, 3000, 3000], [8000, 900, 100]
    drawn_RAB = scipy.stats.random_table.rvs(
        a_A, b_B, size=4000, random_state=np.random.default_rng(0)
    )
    numbers_R = information.mutual_information(drawn_RAB)
    found = information.expected_mutual_information(drawn_RAB[:2])
    assert found[0] == found[1]
    error = numbers_R.std() / math.sqrt(len(numbers_R))
    assert abs(found[0] - numbers_R.mean()) < 4 * error


# by sklearn.metrics.adjusted_mutual_info_score of scikit-learn 1.9.1
RECORDED = [
    ([0, 0, 1, 1], [0, 0, 1, 1], 1.0),
    ([0, 0, 1, 1], [0, 1, 0, 1], -0.5),
    ([0, 0, 0, 0], [0, 1, 2, 3], 0.0),
    ([1, 1, 1, 2, 2, 2, 3, 3, 3], [1, 1, 2, 2, 2, 3, 3, 3, 1], 0.1650226091288854),
    ([0, 1, 2, 0, 1, 2, 0, 4, 4, 0], [3, 1, 1, 3, 1, 2, 3, 0, 0, 1], 0.46858221397254235),
]


@pytest.mark.parametrize(("a_N", "b_N", "expected"), RECORDED)
def test_adjusted_mutual_information_is_scikit_learns(a_N, b_N, expected):
    assert ami(a_N, b_N) == pytest.approx(expected, abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(labels, st.permutations(range(5)), st.integers(0, 99))
def test_names_of_labels_do_not_matter(a_N, names, seed):
    a_N, b_N = np.array(a_N), np.random.default_rng(seed).integers(4, size=len(a_N))
    renamed_N = np.array(names)[a_N]
    np.testing.assert_allclose(ami(renamed_N, b_N), ami(a_N, b_N), atol=1e-9)
    np.testing.assert_allclose(ami(b_N, a_N), ami(a_N, b_N), atol=1e-9)
    if len(set(a_N)) > 1 and len(set(a_N)) < len(a_N):
        assert ami(renamed_N, a_N) == pytest.approx(1, abs=1e-9)


def test_nothing_can_be_said_of_labels_that_do_not_vary():
    assert math.isnan(ami([1, 1, 1], [2, 2, 2]))


# K, N: mutual information plug-in and by Miller-Madow, of one draw by other code
INDEPENDENT = {
    (8, 1000): (0.098, -0.009),
    (64, 1000): (0.973, 0.625),
    (64, 10000): (0.107, 0.010),
    (4096, 1000): (3.272, 3.225),
    (4096, 10000): (2.393, 2.100),
}


@pytest.mark.parametrize(("codes", "samples"), INDEPENDENT)
def test_only_the_adjusted_measure_is_zero_for_independent_labels(codes, samples):
    """Tokens of K codes against 32 classes."""
    rng = np.random.default_rng(0)
    counts_AB = table(rng.integers(codes, size=samples), rng.integers(32, size=samples), codes, 32)
    assert abs(information.adjusted_mutual_information(counts_AB)) < 0.01
    plugin, corrected = INDEPENDENT[codes, samples]
    assert information.mutual_information(counts_AB) == pytest.approx(plugin, rel=0.05, abs=0.01)
    found = information.mutual_information_mm(counts_AB)
    assert found == pytest.approx(corrected, rel=0.05, abs=0.02)


def test_measures_run_under_jit_and_agree():
    counts_AB = np.random.default_rng(0).integers(20, size=(2, 4, 5)).astype(np.float32)
    for measure in (
        information.entropy, information.entropy_mm, information.mutual_information,
        information.mutual_information_mm, information.conditional_entropy_mm,
    ):  # fmt: skip
        np.testing.assert_allclose(jax.jit(measure)(counts_AB), measure(counts_AB), atol=1e-5)
