"""Numbers with their interval and their null, for samples that are alike within episodes.

A statistic is a function of labels (tokens, domains), of a weight of each sample and of other
columns. Its null is the same function of labels that other episodes have; its interval comes from
leaving out groups of episodes (a bootstrap draws episodes twice, which measures of information take
for dependence). N samples, R draws of a null, G groups of episodes, W weightings, T kinds, D dims,
M numbers.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from lam.ops import information, resample

PAD = 512  # numbers of samples are rounded up to it, so that programs are compiled once
CHUNK = 1 << 18  # samples times draws that are computed at once
LEVEL = 0.95


class Estimated(NamedTuple):
    """A number or an array of numbers; NaN where it cannot be known.

    Attributes:
      value: of the data.
      low, high: 95 % interval.
      null: mean of the null.
      p: see `p_value`.
    """

    value: float
    low: float
    high: float
    null: float
    p: float


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A statistic of the data and of all draws, float64.

    Attributes:
      value: [...].
      null_R: [R, ...] where labels say nothing.
      weighted_W: [W, ...] of samples with weights.
      bootstrap: whether these weights are of a bootstrap; else they leave out one group at a time.
    """

    value: np.ndarray
    null_R: np.ndarray
    weighted_W: np.ndarray
    bootstrap: bool

    def map(self, function):
        """The Drawn of a function of the statistic; it is given arrays [M, ...]."""
        value = function(self.value[None])[0]
        return Drawn(value, function(self.null_R), function(self.weighted_W), self.bootstrap)

    def estimate(self, alternative="greater"):
        """Estimated, floats where the statistic is one number.

        alternative: "greater", "less" or "both", what is extreme.
        """
        if self.bootstrap:
            low, high = percentiles(self.weighted_W)
        else:
            low, high = jackknife(self.value, self.weighted_W)
        p = p_value(self.value, self.null_R, alternative)
        found = (self.value, low, high, known_mean(self.null_R, axis=0), p)
        return Estimated(*(float(x) if np.ndim(x) == 0 else x for x in found))


def estimate(statistic, labels_N, sampling, *columns, alternative="greater", **how):
    """`draw(...).estimate(alternative)`: a statistic as Estimated."""
    return draw(statistic, labels_N, sampling, *columns, **how).estimate(alternative)


def draw(statistic, labels_N, sampling, *columns, index_RN=None, bootstrap=False, **sizes):
    """A statistic of the data, of its null and of parts of the data.

    Args:
      statistic: function (labels_N, weight_N, *columns, **sizes) -> jax array of any shape, fit for
        jit and vmap; defined once (not inside a function), so that it is compiled once. Samples of
        weight 0 must not count: N is rounded up with such.
      labels_N: [N] or [N, ...], what the null exchanges.
      sampling: `lam.ops.draws.Sampling` of the samples.
      columns: arrays [N, ...], finite or handled by the statistic.
      index_RN: samples whose labels each sample is given, `sampling.permutations_RN` where None.
      bootstrap: whether the interval is of `sampling.bootstrap_RN`; else of the jackknife.
      sizes: numbers of labels and the like, hashable.

    Returns:
      Drawn.
    """
    index_RN = sampling.permutations_RN if index_RN is None else index_RN
    weight_WN = sampling.bootstrap_RN if bootstrap else sampling.jackknife_GN
    call = functools.partial(_apply, statistic, labels_N, columns, sizes)
    own_1N = np.arange(len(labels_N), dtype=np.int32)[None]
    found = call(np.concatenate([own_1N, index_RN]), None)
    return Drawn(found[0], found[1:], call(None, weight_WN), bootstrap)


def permuted(statistic, labels_N, index_RN, *columns, **sizes):
    """A statistic, as in `draw`, of exchanged labels: float64 [R, ...]."""
    return _apply(statistic, labels_N, columns, sizes, index_RN, None)


def weighted(statistic, labels_N, weight_WN, *columns, **sizes):
    """A statistic, as in `draw`, for each of some weights of the samples: float64 [W, ...]."""
    return _apply(statistic, labels_N, columns, sizes, None, weight_WN)


def agreement(labels_N, other_N, sampling, labels, others, index_RN=None):
    """Adjusted mutual information of labels and other labels: Drawn.

    Args:
      labels_N: integers [N], or [N, L] for L labels of a sample, each for itself.
      other_N: integers [N]; samples with -1 count nowhere.
      labels, others: how many there are.

    Returns:
      Drawn with `value` [] or [L]; NaN where neither varies. What is expected by chance from the
      margins is computed for the data and taken for all of the null, too.
    """
    several_NL = np.asarray(labels_N).reshape(len(other_N), -1)
    tables = draw(
        _tables, several_NL, sampling, other_N, index_RN=index_RN, labels=labels, others=others
    )
    expected_L = information.expected_mutual_information(tables.value)
    # chance goes down as 1 / N; good enough for the spread when a few groups are left out
    left_WL = tables.weighted_W.sum(axis=(-2, -1))
    more_WL = tables.value.sum(axis=(-2, -1)) / np.where(left_WL > 0, left_WL, np.nan)
    found = Drawn(
        information.adjusted_mutual_information(tables.value, expected_L),
        information.adjusted_mutual_information(tables.null_R, expected_L),
        information.adjusted_mutual_information(tables.weighted_W, expected_L * more_WL),
        tables.bootstrap,
    )
    return found if np.ndim(labels_N) > 1 else found.map(lambda x_ML: x_ML[:, 0])


def _tables(labels_NL, weight_N, other_N, labels, others):
    """Contingency tables of each position: float32 [L, labels, others]."""
    count = lambda labels_N: information.crosstab(labels_N, other_N, labels, others, weight_N)  # noqa: E731
    return jax.vmap(count, in_axes=1)(labels_NL)


def p_value(value, null_R, alternative="greater"):
    """Chance of a number at least as extreme: (1 + draws that are) / (R + 1), elementwise.

    alternative: "greater", "less", "both" (twice the smaller, at most 1). Draws that are NaN are
    left out; NaN where the value is.
    """
    if alternative == "both":
        sides = [p_value(value, null_R, side) for side in ("greater", "less")]
        return np.minimum(1.0, 2 * np.minimum(*sides))
    value, null_R = np.asarray(value, np.float64), np.asarray(null_R, np.float64)
    sign = {"greater": 1, "less": -1}[alternative]
    known_R = np.isfinite(null_R)
    extreme_R = known_R & (sign * np.where(known_R, null_R, 0) >= sign * value)
    p = (1 + extreme_R.sum(axis=0)) / (1 + known_R.sum(axis=0))
    return np.where(np.isfinite(value), p, np.nan)


def benjamini_hochberg(p_T):
    """Smallest false discovery rate at which each finding counts: float64 [T]; NaN stays NaN."""
    p_T = np.asarray(p_T, np.float64)
    q_T, known_T = np.full(p_T.shape, np.nan), np.isfinite(p_T)
    known = p_T[known_T]
    order = np.argsort(known, kind="stable")[::-1]
    stepped = known[order] * len(known) / np.arange(len(known), 0, -1)
    found = np.empty(len(known))
    found[order] = np.minimum(np.minimum.accumulate(stepped), 1.0)
    q_T[known_T] = found
    return q_T


def jackknife(value, left_G, level=LEVEL):
    """(low, high) from the statistic without each of G groups, elementwise; NaN for G < 2.

    value +- t_(G-1) sqrt((G-1)/G sum (left - mean)^2), Quenouille and Tukey.
    """
    left_G = np.asarray(left_G, np.float64)
    count = len(left_G)
    if count < 2:
        return np.full(np.shape(value), np.nan), np.full(np.shape(value), np.nan)
    spread = np.sqrt((count - 1) / count * ((left_G - left_G.mean(axis=0)) ** 2).sum(axis=0))
    reach = special.stdtrit(count - 1, (1 + level) / 2) * spread
    return value - reach, value + reach


def percentiles(numbers_W, level=LEVEL):
    """(low, high) between which `level` of the numbers are, elementwise over [W, ...].

    NaN where half of the numbers or more are.
    """
    numbers_W = np.asarray(numbers_W, np.float64)
    flat_MW = numbers_W.reshape(len(numbers_W), -1).T
    found_M2 = np.full((len(flat_MW), 2), np.nan)
    for row, numbers in enumerate(flat_MW):
        finite = numbers[np.isfinite(numbers)]
        if 2 * len(finite) > len(numbers):
            found_M2[row] = resample.interval(finite, level)
    return found_M2[:, 0].reshape(numbers_W.shape[1:]), found_M2[:, 1].reshape(numbers_W.shape[1:])


def between_share(values_ND, kind_N, kinds, weight_N=None):
    """Share of the variance of values that lies between kinds; jax, fit for jit and vmap.

    Epsilon squared (Kelley 1935): 1 where the kind says all, 0 on
    average where it says nothing, negative by chance. Weights count as numbers of samples.

    Returns:
      float32 []; NaN where values do not vary or every sample is of a kind of its own.
    """
    within, total, count, seen = _variances(values_ND, kind_N, kinds, weight_N)
    free = count - seen
    good = (free > 0) & (total > 0)
    share = within / jnp.where(good, free, 1.0) * (count - 1) / jnp.where(good, total, 1.0)
    return jnp.where(good, 1 - share, jnp.nan)


def _variances(values_ND, kind_N, kinds, weight_N):
    """Squares within kinds, in all, weight and number of kinds seen; centred for float32."""
    here = (kind_N,), (kinds,)
    known_N = ((kind_N >= 0) & (kind_N < kinds)).astype(jnp.float32)
    weight_N = known_N if weight_N is None else known_N * weight_N
    weight_T = information.totals(None, weight_N, *here)[:, 0]
    count = weight_T.sum()
    mean_D = (weight_N[:, None] * values_ND).sum(axis=0) / jnp.maximum(count, 1e-9)
    centred_ND = values_ND - mean_D
    sums_TD = information.totals(centred_ND, weight_N, *here)
    mean_TD = sums_TD / jnp.maximum(weight_T, 1e-9)[:, None]
    total = jnp.sum(weight_N[:, None] * centred_ND**2)
    within = jnp.maximum(total - jnp.sum(weight_T[:, None] * mean_TD**2), 0)
    return within, total, count, (weight_T > 0).sum()


def _apply(statistic, labels_N, columns, sizes, index_WN, weight_WN):
    """A statistic of labels by index, or with weights, chunk by chunk: float64 [W, ...]."""
    samples = len(labels_N)
    rows = len(index_WN if weight_WN is None else weight_WN)
    padded = -(-max(samples, 1) // PAD) * PAD
    chunk = max(1, min(64, CHUNK // padded))
    labels_N, *columns = (jnp.asarray(_pad(column, padded)) for column in (labels_N, *columns))
    index_CN = np.tile(np.arange(padded, dtype=np.int32), (chunk, 1))
    weight_CN = np.tile((np.arange(padded) < samples).astype(np.float32), (chunk, 1))
    sizes = tuple(sorted(sizes.items()))
    found = []
    for start in range(0, rows, chunk):
        for whole_CN, part_WN in ((index_CN, index_WN), (weight_CN, weight_WN)):
            if part_WN is not None:
                part = part_WN[start : start + chunk]
                whole_CN[: len(part), :samples] = part
        found.append(
            _mapped(statistic, sizes, labels_N, columns, index_CN.copy(), weight_CN.copy())
        )
    return np.concatenate([np.asarray(part, np.float64) for part in found])[:rows]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _mapped(statistic, sizes, labels_N, columns, index_CN, weight_CN):
    one = lambda index_N, weight_N: statistic(labels_N[index_N], weight_N, *columns, **dict(sizes))  # noqa: E731
    return jax.vmap(one)(index_CN, weight_CN)


def _pad(column, size):
    column = np.asarray(column)
    return np.pad(column, [(0, size - len(column))] + [(0, 0)] * (column.ndim - 1))


def known_mean(values, axis=-1):
    """Mean along an axis of what is finite, numpy; NaN where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=axis)
    return np.where(known.any(axis=axis), total / np.maximum(known.sum(axis=axis), 1), np.nan)
