"""Linear probes in closed form, with their control and their interval. numpy, float64.

N samples, F features, D target dims, L tokens, G groups (scenes), R resamples.
"""

import numpy as np

from lam.ops import resample


def fit(features_NF, targets_ND, ridge=1.0):
    """Ridge regression `features @ weights_FD + bias_D`; the bias is not penalised.

    Minimises the SUM of squared errors + ridge * |weights|^2, so that `ridge` counts in samples.
    Returns (weights_FD, bias_D).
    """
    features_NF = np.asarray(features_NF, np.float64)
    targets_ND = np.asarray(targets_ND, np.float64)
    mean_F, mean_D = features_NF.mean(axis=0), targets_ND.mean(axis=0)
    centred_NF = features_NF - mean_F
    gram_FF = centred_NF.T @ centred_NF + ridge * np.eye(len(mean_F))
    weights_FD = np.linalg.solve(gram_FF, centred_NF.T @ (targets_ND - mean_D))
    return weights_FD, mean_D - mean_F @ weights_FD


def apply(probe, features_NF):
    """Predictions [N, D] of what `fit` returned."""
    weights_FD, bias_D = probe
    return np.asarray(features_NF, np.float64) @ weights_FD + bias_D


def r2(targets_ND, predictions_ND):
    """Share of variance explained over all dims together, against the mean of these targets.

    1 - (squared error summed over samples and dims) / (squared deviation summed likewise): 1 is
    perfect, 0 is no better than the mean of the scored targets, negative is worse. NaN where the
    targets do not vary.
    """
    error_D, spread_D = _sums(targets_ND, predictions_ND)
    return float(_one_minus_ratio(error_D.sum(), spread_D.sum()))


def r2_per_dim(targets_ND, predictions_ND):
    """`r2` of each target dim for itself: float64 [D]."""
    return _one_minus_ratio(*_sums(targets_ND, predictions_ND))


def score(probe, features_NF, targets_ND):
    """`r2` of a fitted probe on these samples."""
    return r2(targets_ND, apply(probe, features_NF))


def shuffled(tokens_NL, seed):
    """Control: the same token sequences dealt out to the samples at random (by `seed`)."""
    return np.random.default_rng(seed).permutation(np.asarray(tokens_NL), axis=0)


def bootstrap_r2(targets_ND, predictions_ND, groups_N, resamples=200, level=0.95, seed=0):
    """Percentile interval (low, high) of `r2`, resampling whole GROUPS, see `resample.sums`.

    Raises ValueError for fewer than two groups.
    """
    targets_ND = np.asarray(targets_ND, np.float64)
    dims, centred_ND = targets_ND.shape[1], targets_ND - targets_ND.mean(axis=0)
    square_ND = (targets_ND - np.asarray(predictions_ND, np.float64)) ** 2
    columns = [np.ones((len(targets_ND), 1)), square_ND, centred_ND, centred_ND**2]
    totals = resample.sums(np.concatenate(columns, axis=1), groups_N, resamples, seed)
    samples_R1, error_RD, sum_RD, square_RD = np.split(totals, 1 + dims * np.arange(3), axis=1)
    spread_RD = square_RD - sum_RD**2 / samples_R1
    r2_R = _one_minus_ratio(error_RD.sum(axis=1), spread_RD.sum(axis=1))
    return resample.interval(r2_R, level)


def _sums(targets_ND, predictions_ND):
    """Squared error and squared deviation from the mean, summed over samples: two [D]."""
    targets_ND = np.asarray(targets_ND, np.float64)
    error_ND = targets_ND - np.asarray(predictions_ND, np.float64)
    spread_ND = targets_ND - targets_ND.mean(axis=0)
    return (error_ND**2).sum(axis=0), (spread_ND**2).sum(axis=0)


def _one_minus_ratio(error, spread):
    return 1.0 - np.where(spread > 0, error, np.nan) / np.where(spread > 0, spread, 1.0)
