"""Draws of whole episodes: samples of one episode are alike, so episodes are what can be exchanged.

Each episode belongs to one domain. N samples, E episodes, R draws, G groups of episodes. numpy.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

FEW = 8  # episodes of a domain under which a null also begins them at a random sample
GROUPS = 40  # of episodes, left out one at a time by the jackknife


@dataclasses.dataclass(frozen=True, eq=False)
class Sampling:
    """What some samples are drawn from, and all draws, made when first asked for.

    Attributes:
      episode_N, domain_N: their names or numbers [N].
      step_N: the order within an episode.
      permuted, resamples: numbers of draws.
      seed: of all draws.
    """

    episode_N: np.ndarray
    domain_N: np.ndarray
    step_N: np.ndarray
    permuted: int = 500
    resamples: int = 500
    seed: int = 0

    @functools.cached_property
    def number_N(self):
        """Episode of each sample, int32 0..E-1, in the order of `numpy.unique`."""
        return np.unique(self.episode_N, return_inverse=True)[1].reshape(-1).astype(np.int32)

    @functools.cached_property
    def episodes(self):
        return int(self.number_N.max(initial=-1)) + 1

    @functools.cached_property
    def permutations_RN(self):
        """See `permutations`."""
        return permutations(self.episode_N, self.domain_N, self.step_N, self.permuted, self.seed)

    @functools.cached_property
    def labels_RN(self):
        """See `label_permutations`."""
        return label_permutations(self.episode_N, self.domain_N, self.permuted, self.seed)

    @functools.cached_property
    def bootstrap_RN(self):
        """See `bootstrap`."""
        return bootstrap(self.episode_N, self.domain_N, self.resamples, self.seed)

    @functools.cached_property
    def jackknife_GN(self):
        """Weights that leave out one of the `groups` at a time: float32 [G, N], 0 or 1."""
        group_N = groups(self.episode_N, self.domain_N, seed=self.seed)
        return (group_N != np.arange(group_N.max(initial=-1) + 1)[:, None]).astype(np.float32)


class _Episodes(NamedTuple):
    """Where each episode's samples stand when sorted by domain, episode and step."""

    order_N: np.ndarray  # sample at each place
    episode_N: np.ndarray  # episode at each place, 0..E-1, those of one domain side by side
    start_E: np.ndarray
    length_E: np.ndarray
    domain_E: np.ndarray


def _episodes(episode_N, domain_N, step_N=None):
    domain_N = np.unique(np.asarray(domain_N), return_inverse=True)[1].reshape(-1)
    episode_N = np.unique(np.asarray(episode_N), return_inverse=True)[1].reshape(-1)
    step_N = np.zeros(len(domain_N)) if step_N is None else np.asarray(step_N)
    order_N = np.lexsort((step_N, episode_N, domain_N))
    keys_2N = np.stack([domain_N, episode_N])[:, order_N]
    new_N = np.ones(len(order_N), bool)
    new_N[1:] = (keys_2N[:, 1:] != keys_2N[:, :-1]).any(axis=0)
    start_E = np.flatnonzero(new_N)
    if len(start_E) != len(np.unique(episode_N)):
        raise ValueError("An episode has samples of two domains.")
    length_E = np.diff(np.append(start_E, len(order_N)))
    return _Episodes(order_N, np.cumsum(new_N) - 1, start_E, length_E, keys_2N[0, start_E])


def permutations(episode_N, domain_N, step_N, count, seed=0):
    """Samples whose tokens each sample is given, where tokens say nothing: int32 [count, N].

    Each episode is given the samples of one episode of its domain with about as many, in the order
    of their steps, beginning with beginning and end with end. Where a donor is too short, some of
    its samples are given twice, which are too like, or, as often, what is left of longer ones is
    given instead, which is too unlike. So how alike tokens are within an episode, how tokens and
    motion change from its begin to its end, and what domains have in common, is as in the data, and
    only what is beyond that is not chance. A domain of fewer than FEW episodes has few such orders:
    there an episode also begins at a random sample and goes on from its first when it ends.

    Raises ValueError where an episode has samples of two domains.
    """
    rng, known = np.random.default_rng(seed), _episodes(episode_N, domain_N, step_N)
    episodes = len(known.start_E)
    donor_RE = _donors(rng, known, count)
    few_E = np.bincount(known.domain_E, minlength=1)[known.domain_E] < FEW
    shift_RE = (rng.random((count, episodes)) * known.length_E[donor_RE] * few_E).astype(np.int32)
    place_N = np.arange(len(known.order_N)) - known.start_E[known.episode_N]
    found_RN = np.empty((count, len(known.order_N)), np.int32)
    start_E, length_E = known.start_E.astype(np.int32), known.length_E.astype(np.int32)
    domain_N = known.domain_E[known.episode_N]
    odd_N, twice_N = (2 * place_N + 1).astype(np.int32), 2 * length_E[known.episode_N]
    for draw, (donor_E, shift_E) in enumerate(zip(donor_RE, shift_RE, strict=True)):
        donor_N = donor_E[known.episode_N]
        given_N = odd_N * length_E[donor_N] // twice_N + shift_E[known.episode_N]
        given_N = start_E[donor_N] + given_N % length_E[donor_N]
        _fill(rng, given_N, domain_N)
        found_RN[draw, known.order_N] = known.order_N[given_N]
    return found_RN


def _fill(rng, given_N, domain_N):
    """Half of the samples that are given again become ones that are not given; in place."""
    again_N, left_N = np.ones(len(given_N), bool), np.ones(len(given_N), bool)
    again_N[np.unique(given_N, return_index=True)[1]] = False
    left_N[given_N] = False
    left_M, again_M = np.flatnonzero(left_N), np.flatnonzero(again_N)  # as many in each domain
    left_M = left_M[np.argsort(domain_N[left_M] + rng.random(len(left_M)))]
    kept_M = rng.random(len(left_M)) < 0.5
    given_N[again_M[~kept_M]] = left_M[~kept_M]


def _donors(rng, known, count):
    """Which episode gives to each episode, of its domain and of like length: int32 [count, E].

    Episodes of a domain stand in the order of length (equal ones in random order) and are cut into
    blocks of at least FEW, and of at least the root of their number; donors are of the block.
    """
    shape = count, len(known.start_E)
    number_D = np.bincount(known.domain_E)
    blocks_D = np.maximum(number_D // np.maximum(FEW, np.sqrt(number_D)).astype(int), 1)
    place_E = np.arange(shape[1]) - np.searchsorted(known.domain_E, known.domain_E)
    block_E = place_E * blocks_D[known.domain_E] // number_D[known.domain_E]
    block_E += known.domain_E * (1 + blocks_D.max(initial=0))
    rank_E = known.domain_E * (1 + known.length_E.max(initial=0)) + known.length_E
    order_RE = np.argsort(rng.random(shape) + rank_E, axis=1)
    dealt_RE = np.argsort(rng.random(shape) + block_E, axis=1)  # blocks keep their places
    donor_RE = np.empty(shape, np.int32)
    np.put_along_axis(donor_RE, order_RE, np.take_along_axis(order_RE, dealt_RE, axis=1), axis=1)
    return donor_RE


def label_permutations(episode_N, domain_N, count, seed=0):
    """Samples whose domain each sample is given, where domains do not matter: int32 [count, N].

    Domains are dealt out to whole episodes, each to as many as it has. Raises ValueError as
    `permutations`.
    """
    rng, known = np.random.default_rng(seed), _episodes(episode_N, domain_N)
    first_E = known.order_N[known.start_E].astype(np.int32)
    dealt_RE = rng.permuted(np.tile(first_E, (count, 1)), axis=1)
    found_RN = np.empty((count, len(known.order_N)), np.int32)
    found_RN[:, known.order_N] = dealt_RE[:, known.episode_N]
    return found_RN


def bootstrap(episode_N, domain_N, count, seed=0):
    """Weights of the samples, episodes drawn with replacement within domains: float32 [count, N].

    From n episodes n - 1 are drawn and weighed n / (n - 1) (Rao and Wu, JASA 1988), so that the
    spread is right for few episodes, too; weights of the episodes of a domain add up to n. A single
    episode always has weight 1. Raises ValueError as `permutations`.
    """
    rng, known = np.random.default_rng(seed), _episodes(episode_N, domain_N)
    parts = []
    for n in np.bincount(known.domain_E):
        draws_RE = rng.multinomial(max(n - 1, 1), np.full(n, 1 / n), count)
        parts.append(draws_RE * (n / max(n - 1, 1)))
    weight_RE = np.concatenate(parts, axis=1).astype(np.float32)
    found_RN = np.empty((count, len(known.order_N)), np.float32)
    found_RN[:, known.order_N] = weight_RE[:, known.episode_N]
    return found_RN


def groups(episode_N, domain_N, most=GROUPS, seed=0):
    """Groups of episodes for a jackknife: int [N], 0..min(most, E)-1.

    The episodes of each domain, in random order, are dealt out in turn, so that groups are about
    equally large and every one has its part of each domain.
    """
    rng, known = np.random.default_rng(seed), _episodes(episode_N, domain_N)
    order_E = np.argsort(rng.random(len(known.start_E)) + known.domain_E)
    group_E = np.empty(len(order_E), np.int64)
    group_E[order_E] = np.arange(len(order_E)) % most
    found_N = np.empty(len(known.order_N), np.int64)
    found_N[known.order_N] = group_E[known.episode_N]
    return found_N
