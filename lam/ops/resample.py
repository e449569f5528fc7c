"""Bootstrap intervals. Samples of one scene are not independent, so whole groups are drawn.

N samples, D numbers of a sample, G groups (scenes), R resamples. numpy, float64.
"""

import numpy as np


def sums(values_ND, groups_N, resamples=200, seed=0):
    """Sums over the samples of each resample, G groups drawn with replacement: float64 [R, D].

    `groups_N`: integers or strings, e.g. the scene of each sample. A column of ones gives the
    number of samples. Raises ValueError for fewer than two groups.
    """
    names_G, group_N = np.unique(np.asarray(groups_N), return_inverse=True)
    if len(names_G) < 2:
        raise ValueError(f"A bootstrap over groups needs at least 2 groups, got {len(names_G)}.")
    columns = np.asarray(values_ND, np.float64).T
    per_group_GD = np.stack([np.bincount(group_N, column) for column in columns], axis=1)
    rng = np.random.default_rng(seed)
    draws_RG = rng.multinomial(len(names_G), np.full(len(names_G), 1 / len(names_G)), resamples)
    return draws_RG @ per_group_GD


def interval(numbers_R, level=0.95):
    """Percentile interval (low, high) of a number that was computed from each resample."""
    low, high = np.percentile(numbers_R, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def mean_interval(values_N, groups_N, resamples=200, level=0.95, seed=0):
    """Interval (low, high) of the mean of the samples."""
    totals_R2 = sums(
        np.stack([values_N, np.ones(len(values_N))], axis=1), groups_N, resamples, seed
    )
    return interval(totals_R2[:, 0] / totals_R2[:, 1], level)
