"""Mean motions of tokens in several domains beside each other: angles, and turned domains.

Motions are complex numbers x + iy here, x right, y down: a positive angle turns to the right (as a
clock). M draws, P labels of a sample, T labels, G domains. numpy, float64.
"""

from typing import NamedTuple

import numpy as np

from analysis.tokens import moving

ROUND = 360


class Pairs(NamedTuple):
    """Domains two by two, over all tokens that both have; float64, NaN where there is none.

    A token counts by its samples in both and by how clear its direction is in both.
    """

    angle_MGG: np.ndarray  # degrees between the mean motions of one token, 0..180
    agreement_MGG: np.ndarray  # mean cosine of that angle, -1..1
    rotation_MGG: np.ndarray  # degrees by which the first domain is turned against the second
    turned_MGG: np.ndarray  # the agreement after turning it back, 0..1
    weight_MGG: np.ndarray
    common_MGG: np.ndarray  # complex, the mean product itself: near 0 where tokens say nothing


def products(sums_MPTGC, enough_PTG, column):
    """Mean motion of a token in one domain times that in another, conjugated.

    Args:
      sums_MPTGC: sums over samples, see `measures.sums`: column 0 their number, `column` and the
        next of motions, `column` + 2 of their lengths.
      enough_PTG: bool, where a token has enough samples in a domain; others are left out.

    Returns:
      (complex [M,P,T,G,G], float weight of samples [M,P,T,G,G]), both 0 where something is missing
      and for a domain with itself. Motions are in mean speeds of the domain.
    """
    count_MPTG = sums_MPTGC[..., 0]
    speed_MPTG = sums_MPTGC[..., column + 2]
    domain_MG = moving.ratio(speed_MPTG.sum(axis=(1, 2)), count_MPTG.sum(axis=(1, 2)))
    total_MPTG = sums_MPTGC[..., column] + 1j * sums_MPTGC[..., column + 1]
    good_MPTG = enough_PTG & (count_MPTG > 0) & (domain_MG > 0)[:, None, None]
    scale_MPTG = np.where(good_MPTG, count_MPTG * np.nan_to_num(domain_MG)[:, None, None], 1.0)
    mean_MPTG = np.where(good_MPTG, total_MPTG, 0) / scale_MPTG
    count_MPTG = np.where(good_MPTG, count_MPTG, 0)
    pair, both = mean_MPTG[..., :, None] * mean_MPTG[..., None, :].conj(), count_MPTG[..., :, None]
    weight = moving.ratio(both * count_MPTG[..., None, :], both + count_MPTG[..., None, :])
    apart_GG = ~np.eye(count_MPTG.shape[-1], dtype=bool)
    return pair * apart_GG, np.nan_to_num(weight) * apart_GG


def pairs(product, weight):
    """Pairs over all tokens, from `products`."""
    clear = weight * np.abs(product)
    total_MGG, sum_MGG = clear.sum(axis=(1, 2)), (weight * product).sum(axis=(1, 2))
    angle = np.abs(np.degrees(np.angle(product)))
    known = total_MGG > 0
    return Pairs(
        moving.ratio((clear * angle).sum(axis=(1, 2)), total_MGG),
        moving.ratio(sum_MGG.real, total_MGG),
        np.where(known, np.degrees(np.angle(sum_MGG)), np.nan),
        moving.ratio(np.abs(sum_MGG), total_MGG),
        total_MGG,
        sum_MGG / np.maximum(weight.sum(axis=(1, 2)), 1e-9),
    )


def mean_angle(product, weight, axes):
    """Degrees between domains, the mean over `axes` by weight and clearness; NaN for nothing."""
    clear = weight * np.abs(product)
    angle = np.abs(np.degrees(np.angle(product)))
    return moving.ratio((clear * angle).sum(axis=axes), clear.sum(axis=axes))


def common(product, weight, axes):
    """Mean product along the same direction, over `axes`: 0 by chance, 1 where all is the same."""
    return moving.ratio((weight * product.real).sum(axis=axes), weight.sum(axis=axes))


def reference(rotation_GG):
    """Number of the domain that is turned least against the others, which most agree with."""
    known_GG = np.isfinite(rotation_GG)
    away_G = np.where(known_GG, np.abs(np.nan_to_num(rotation_GG)), 180.0).sum(axis=1)
    return int(np.argmin(away_G))


def near(angle, other):
    """`angle` plus whole turns, so that it is within 180 degrees of `other`."""
    return other + (angle - other + 180) % ROUND - 180


def old_consistency(sums_MPTGC, enough_PTG, column):
    """1 less the circular variance of the domains' mean angles, the mean by samples: [M].

    As the earlier script of HLRP had it: each domain counts the same, spread within domains counts
    nowhere, and tokens that say nothing score high where domains move alike.
    """
    total = sums_MPTGC[..., column] + 1j * sums_MPTGC[..., column + 1]
    some = enough_PTG & (np.abs(total) > 0)
    unit = np.where(some, total / np.where(some, np.abs(total), 1), 0)
    length_MPT = moving.ratio(np.abs(unit.sum(axis=-1)), some.sum(axis=-1))
    counted_MPT = (some.sum(axis=-1) >= 2) * (sums_MPTGC[..., 0] * some).sum(axis=-1)
    return moving.ratio((np.nan_to_num(length_MPT) * counted_MPT).sum(axis=(1, 2)),
                        counted_MPT.sum(axis=(1, 2)))  # fmt: skip


def shares(sums_PTGC, column):
    """Share of the variance of directions between domains, for each token and over all: debiased.

    Epsilon squared as `lam.ops.stats.between_share`, from sums of unit vectors at `column`.

    Args:
      sums_PTGC: [..., P, T, G, C].

    Returns:
      (float [..., P, T], float [..., P]: over the tokens of a position).
    """
    count_PTG = sums_PTGC[..., 0]
    square_PTG = (sums_PTGC[..., column : column + 2] ** 2).sum(axis=-1)
    whole_PT2 = sums_PTGC[..., column : column + 2].sum(axis=-2)
    count_PT = count_PTG.sum(axis=-1)
    between_PT = np.nan_to_num(moving.ratio(square_PTG, count_PTG)).sum(axis=-1)
    within_PT = count_PT - between_PT  # every unit vector has the square 1
    total_PT = count_PT - np.nan_to_num(moving.ratio((whole_PT2**2).sum(axis=-1), count_PT))
    seen_PT = (count_PTG > 0).sum(axis=-1)
    free_PT, all_PT = count_PT - seen_PT, np.maximum(count_PT - 1, 0)
    one_PT = moving.ratio(moving.ratio(within_PT, free_PT), moving.ratio(total_PT, all_PT))
    some_PT = (free_PT > 0) & (seen_PT > 1)
    one_P, free_P, all_P = (
        np.where(some_PT, x, 0).sum(axis=-1) for x in (within_PT, free_PT, all_PT)
    )
    total_P = np.where(some_PT, total_PT, 0).sum(axis=-1)
    all_of_P = moving.ratio(moving.ratio(one_P, free_P), moving.ratio(total_P, all_P))
    return 1 - np.where(some_PT, one_PT, np.nan), 1 - all_of_P
