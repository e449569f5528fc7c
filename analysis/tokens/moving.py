"""The samples in which something moves, as analyses of motion need them.

N moving samples, L token positions, P labels of a sample: its L positions and, where L > 1, its
sequence. x right, y down.
"""

import dataclasses
import functools

import numpy as np

from analysis.tokens import kinds
from analysis.tokens.records import Records
from analysis.tokens.result import Estimate
from lam.ops import circular, stats

OCTANTS, TERCILES = 8, 3
UNITS = {"raw": "as it is", "centred": "less the mean motion of its domain"}


@dataclasses.dataclass(frozen=True, eq=False)
class Moving:
    """Samples in which something moves; static ones and those without a flow are set apart.

    Attributes:
      records: Records, only of these.
      options: Options.
      domains: names of all domains, also of those in which nothing moves.
      motion_N2: float64 [N,2], see `Records.motion_N2`.
      static, unknown: numbers of samples set apart.
    """

    records: Records
    options: object
    domains: list
    motion_N2: np.ndarray
    static: int
    unknown: int

    def __len__(self):
        return len(self.records)

    @functools.cached_property
    def domain_N(self):
        """Number of each sample's domain in `domains`: int32."""
        return number_of(self.records.domain_N, self.domains)

    @functools.cached_property
    def sampling(self):
        return self.options.sampling(self.records)

    @functools.cached_property
    def kinds(self):
        """The P ways to label a sample, see `kinds.every`."""
        return kinds.every(self.records.tokens_NL, self.options.top)

    @property
    def length(self):
        return self.records.tokens_NL.shape[1]

    @functools.cached_property
    def labels_NP(self):
        return np.stack([one.number_N for one in self.kinds], axis=1)

    @property
    def labels(self):
        """The largest number of labels of the P."""
        return max(len(one) for one in self.kinds)

    @functools.cached_property
    def centred_N2(self):
        """Motion less the mean of its domain."""
        return self.motion_N2 - means(self.motion_N2, self.domain_N, len(self.domains))

    def vectors(self, centred):
        return self.centred_N2 if centred else self.motion_N2

    def octant(self, centred=False):
        """int32 [N], -1 where a centred motion is zero."""
        return np.asarray(circular.octant(self.vectors(centred)))

    def tercile(self, by_domain):
        """Slow, middle or fast, 0..2, among all samples or among those of the domain: int32."""
        speed_N, found_N = np.linalg.norm(self.motion_N2, axis=1), np.zeros(len(self), np.int32)
        group_N = self.domain_N if by_domain else np.zeros(len(self), np.int32)
        for group in np.unique(group_N):
            found_N[group_N == group] = terciles(speed_N[group_N == group])
        return found_N

    @property
    def numbers(self):
        """For metrics.json."""
        return {
            "samples": len(self), "static": self.static, "without_flow": self.unknown,
            "episodes": self.sampling.episodes, "domains": self.domains,
            "unit": self.records.unit,
        }  # fmt: skip

    @property
    def missing(self):
        """Plain sentences about what is left out."""
        found = []
        if self.unknown:
            found.append(f"{self.unknown} samples have no finite flow and are left out.")
        still = [name for name in self.domains if name not in self.records.domain_N]
        if still:
            found.append(f"Nothing moves in any sample of {', '.join(still)}.")
        return tuple(found)


def of(records, options):
    """The Moving of records."""
    moving_N = records.moving_N
    unknown = int((~records.known_N).sum())
    static = len(records) - unknown - int(moving_N.sum())
    motion_N2 = records.motion_N2[moving_N]
    return Moving(records.select(moving_N), options, records.domains, motion_N2, static, unknown)


def why_not(moving):
    """A sentence that says why nothing can be said about motion, or None."""
    least = max(2, moving.options.support)
    if not len(moving):
        return (
            f"In none of the {moving.static + moving.unknown} samples does anything move "
            f"({moving.static} are static, {moving.unknown} have no finite flow), so there is no "
            "motion that tokens could tell."
        )
    if len(moving) < least:
        return f"Something moves in only {len(moving)} samples; at least {least} are needed."
    if len(np.unique(moving.records.tokens_NL, axis=0)) == 1:
        return "All samples in which something moves have the same tokens, so these say nothing."
    return None


def number_of(name_N, names):
    """Place of each name in sorted `names`: int32."""
    return np.searchsorted(names, name_N).astype(np.int32)


def means(values_ND, group_N, groups):
    """Mean of each sample's group: [N, D]."""
    count_G = np.maximum(np.bincount(group_N, minlength=groups), 1)
    sums = [np.bincount(group_N, column, groups) for column in np.asarray(values_ND).T]
    return (np.stack(sums, axis=1) / count_G[:, None])[group_N]


def terciles(values_N):
    """Which third by size each value is in, 0..2: int32."""
    return np.searchsorted(np.quantile(values_N, (1 / 3, 2 / 3)), values_N).astype(np.int32)


def ratio(above, below):
    """above / below, NaN where `below` is not above 0."""
    above, below = np.broadcast_arrays(above, below)
    good = below > 0
    return np.where(good, above / np.where(good, below, 1.0), np.nan)


def row(found, place=()):
    """One of an Estimated's numbers as columns of a table."""
    return {name: float(np.asarray(getattr(found, name))[place]) for name in found._fields}


def headline(found, unit="", least=-np.inf, most=np.inf):
    """An Estimated of one number as Estimate, None where it is not known.

    least, most: what the number can be; a jackknife's interval knows no bounds.
    """
    if not np.isfinite(found.value):
        return None
    low, high = np.clip((found.low, found.high), least, most)
    return Estimate(found.value, float(low), float(high), found.null, found.p, unit=unit)


def over_positions(drawn, length):
    """Estimated of the mean over the first `length` of the P labels."""
    return drawn.map(lambda x_MP: stats.known_mean(x_MP[:, :length]))


def with_q(rows):
    """Rows of a table that have "p" with "q", the false discovery rate over all of them."""
    q_T = stats.benjamini_hochberg([one["p"] for one in rows]) if rows else []
    return [{**one, "q": float(q)} for one, q in zip(rows, q_T, strict=True)]


def degrees(vectors):
    """Direction of vectors [..., 2] in degrees from right towards down, NaN for none."""
    vectors = np.asarray(vectors, np.float64)
    some = np.isfinite(vectors).all(axis=-1) & (vectors != 0).any(axis=-1)
    return np.where(some, np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])), np.nan)


def file_name(name):
    """A name such as "dataset/robot" as part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
