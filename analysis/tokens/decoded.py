"""What the analyses of decoded pictures share: what was decoded, which motion it should show.

N samples, P pictures, S inspected sequences, Q first frames, L positions, M trials, W weightings.
Motions are shares of (W, H) per pair, x right, y down.
"""

import dataclasses

import numpy as np

from analysis.tokens import kinds
from analysis.tokens.result import Estimate
from lam.flow import directions
from lam.ops import stats

DEGREES = "degrees"


@dataclasses.dataclass(frozen=True, eq=False)
class Applied:
    """Inspected sequences applied to first frames of every domain.

    Attributes:
      tokens_SL: the sequences; names: as they are written, "3 1 2 0".
      first_Q: pictures that give the first frames; row_Q, domain_Q, episode_Q: of the records.
      motion_SQ2: float64, what moves in the decoded frames; 0 where nothing does, NaN unknown.
      truth_S2, centred_S2: mean motion of the moving samples of each sequence, as it is and less
        the mean of each sample's domain; NaN with fewer than `support` of them.
      moved: share of decoded frames in which something moves.
    """

    tokens_SL: np.ndarray
    first_Q: np.ndarray
    row_Q: np.ndarray
    domain_Q: np.ndarray
    episode_Q: np.ndarray
    motion_SQ2: np.ndarray
    truth_S2: np.ndarray
    centred_S2: np.ndarray
    moved: float

    @property
    def names(self):
        return [kinds.label(sequence_L) for sequence_L in self.tokens_SL]

    def sampling(self, options):
        """How the episodes of the first frames are drawn."""
        return options.draws(self.episode_Q, self.domain_Q)

    def centred_SQ2(self):
        """Decoded motion less the mean over all that was decoded on frames of its domain."""
        return self.motion_SQ2 - by_domain(self.motion_SQ2, self.domain_Q)


def applied(records, options):
    """(Applied, "") or (None, a sentence that says why nothing was decoded)."""
    lacking = lacks(records, "apply_motion", "inspected sequences applied to other first frames")
    if lacking:
        return None, lacking
    found = records.pictures
    tokens_SL, first_Q = found["apply_tokens"], found["apply_first"]
    if not len(tokens_SL) or not len(first_Q):
        return None, "No sequence was applied to a first frame, so there is nothing to look at."
    row_Q = found["row"][first_Q]
    motion_SQ2 = still(found["apply_motion"], found["apply_moves"])
    centred_N2 = records.motion_N2 - baseline(records)
    truth_S2, centred_S2 = (
        mean_motions(records, tokens_SL, motion_N2, options.support)
        for motion_N2 in (records.motion_N2, centred_N2)
    )
    return Applied(
        tokens_SL, first_Q, row_Q, records.domain_N[row_Q], records.episode_N[row_Q],
        motion_SQ2, truth_S2, centred_S2, float(np.mean(found["apply_moves"])),
    ), ""  # fmt: skip


def lacks(records, name, what):
    """ "" where frames.npz has the array, else a sentence that says it has not."""
    if "frames" not in records.pictures or not len(records.pictures["row"]):
        return "No pictures were kept when the records were collected, so none can be shown."
    if name not in records.pictures:
        return f"frames.npz has no {what} (no {name}): collect again to have them decoded."
    return ""


def still(motion, moves):
    """Motions [..., 2] in float64, 0 where nothing moves: such a frame shows no direction."""
    return np.where(np.asarray(moves)[..., None], np.asarray(motion, np.float64), 0.0)


def baseline(records):
    """Mean motion of the moving samples of each sample's domain: float64 [N,2], 0 with none."""
    found_N2 = np.zeros((len(records), 2))
    for domain in records.domains:
        here_N = records.domain_N == domain
        moving_N = here_N & records.moving_N
        if moving_N.any():
            found_N2[here_N] = records.motion_N2[moving_N].mean(axis=0)
    return found_N2


def by_domain(motion_SQ2, domain_Q):
    """Mean over sequences and first frames of a domain, for each first frame: [Q,2]."""
    found_Q2 = np.zeros(motion_SQ2.shape[1:])
    for domain in np.unique(domain_Q):
        here_Q = domain_Q == domain
        found_Q2[here_Q] = stats.known_mean(motion_SQ2[:, here_Q].reshape(-1, 2), axis=0)
    return found_Q2


def mean_motions(records, sequences_SL, motion_N2, support):
    """Mean motion of the moving samples of each sequence [S,2]; NaN with fewer than `support`."""
    number_N = kinds.listed("inspected", records.tokens_NL, sequences_SL).number_N
    found_S2 = np.full((len(sequences_SL), 2), np.nan)
    for number in range(len(sequences_SL)):
        here_N = (number_N == number) & records.moving_N
        if here_N.sum() >= support:
            found_S2[number] = motion_N2[here_N].mean(axis=0)
    return found_S2


def angles(one, other):
    """Degrees between vectors [..., 2]; 90 where one is 0, for it says nothing; NaN stays NaN."""
    known = np.isfinite(one).all(axis=-1) & np.isfinite(other).all(axis=-1)
    return np.where(known, directions.angles(one, other), np.nan)


def weighted_means(values_M, weight_WM):
    """Weighted means [W] of values that may be NaN."""
    known_M = np.isfinite(values_M)
    mass_W = weight_WM @ known_M.astype(np.float64)
    total_W = weight_WM @ np.where(known_M, values_M, 0.0)
    return np.where(mass_W > 0, total_W / np.where(mass_W > 0, mass_W, 1.0), np.nan)


def mean_estimate(values_M, draws_of, null_R, unit=DEGREES, alternative="less"):
    """Estimate of a mean over trials: interval by episodes, null and p from numbers of a null."""
    weighted_W = weighted_means(values_M, draws_of.bootstrap_RN)
    if draws_of.episodes < 2:
        weighted_W = np.full_like(weighted_W, np.nan)  # one episode has no interval
    drawn = stats.Drawn(stats.known_mean(values_M), np.asarray(null_R), weighted_W, True)
    return Estimate(*drawn.estimate(alternative), unit=unit)


def orders(count, draws_count, seed):
    """Random orders of `count` things, int [R, count]; a null for what is dealt out."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(count), (draws_count, 1)), axis=1)


def folder(name):
    """A sequence as part of a file name: "3 1 2 0" -> "3-1-2-0"."""
    return name.replace(" ", "-")


def spread_over(domain_N, index_M, most):
    """At most `most` of some samples (their order kept), the domains taking turns: int [..]."""
    found, queues = [], {}
    for sample in index_M:
        queues.setdefault(domain_N[sample], []).append(sample)
    while len(found) < most and any(queues.values()):
        for domain in sorted(queues):
            if queues[domain] and len(found) < most:
                found.append(queues[domain].pop(0))
    return np.asarray(found, np.int64)
