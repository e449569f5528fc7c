"""Principal components of a set of samples. numpy, float64.

N samples, F features, M components.
"""

import numpy as np


def fit(features_NF, most):
    """The `most` directions of largest variance, fewer where the samples have no more.

    Returns:
      (mean_F, axes_FM, share_M): orthonormal columns, the largest entry of each positive, and the
      share of the whole variance that each has (zeros where nothing varies).
    """
    features_NF = np.asarray(features_NF, np.float64)
    mean_F = features_NF.mean(axis=0)
    centred_NF = features_NF - mean_F
    spread_F, axes_FF = np.linalg.eigh(centred_NF.T @ centred_NF)
    count = min(most, *features_NF.shape)
    axes_FM, spread_M = axes_FF[:, ::-1][:, :count], np.maximum(spread_F[::-1][:count], 0)
    largest = np.take_along_axis(axes_FM, np.abs(axes_FM).argmax(axis=0)[None], axis=0)
    total = spread_F.sum()
    share_M = spread_M / (total if total > 0 else 1.0)
    return mean_F, axes_FM * np.where(largest < 0, -1.0, 1.0), share_M


def apply(components, features_NF):
    """Coordinates [N, M] along what `fit` returned."""
    mean_F, axes_FM, _ = components
    return (np.asarray(features_NF, np.float64) - mean_F) @ axes_FM
