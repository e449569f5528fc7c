"""Which pair of frames is row j of the endless stream: arithmetic only, the same for every reader.

Global batch i holds rows i*B .. (i+1)*B-1; process p of n takes its own B/n of them. Every episode
of a source is visited exactly once an epoch, in a new order, at a new random start.
"""

import dataclasses
import functools

import numpy as np

from input_pipeline.errors import DataError

LONGEST_CYCLE = 65536


@dataclasses.dataclass(frozen=True)
class Plan:
    """pairs: for each source the number of starts of its episodes; cycle: source of each row,
    ranks: how often it came before in the cycle, counts: rows of each source in a cycle."""

    seed: int
    pairs: tuple
    cycle: np.ndarray
    ranks: np.ndarray
    counts: np.ndarray

    def rows(self, row):
        """Rows number `row` (int64 [N]) as int64 [N]: source, episode (of the source), start,
        epoch."""
        turn, place = np.divmod(row, len(self.cycle))
        source = self.cycle[place]
        position = turn * self.counts[source] + self.ranks[place]
        episode, start, epoch = (np.zeros_like(row) for _ in range(3))
        for s in np.unique(source):
            mine = source == s
            epoch[mine], visit = np.divmod(position[mine], len(self.pairs[s]))
            episode[mine], start[mine] = self._visits(int(s), epoch[mine], visit)
        return {"source": source, "episode": episode, "start": start, "epoch": epoch}

    def _visits(self, source, epoch, visit):
        episode, start = np.zeros_like(visit), np.zeros_like(visit)
        for e in np.unique(epoch):
            mine = epoch == e
            order, uniform = _epoch(self.seed, source, int(e), len(self.pairs[source]))
            episode[mine] = order[visit[mine]]
            start[mine] = uniform[visit[mine]] * self.pairs[source][episode[mine]]
        return episode, start


def make(seed, pairs, weights):
    """Plan for sources with `pairs` (int arrays, all >= 1) drawn in proportion to weights."""
    cycle = mix_cycle(np.asarray(weights, float))
    ranks = np.zeros(len(cycle), np.int64)
    for source in range(len(weights)):
        mine = cycle == source
        ranks[mine] = np.arange(mine.sum())
    return Plan(
        seed=int(seed),
        pairs=tuple(np.asarray(p, np.int64) for p in pairs),
        cycle=cycle,
        ranks=ranks,
        counts=np.bincount(cycle, minlength=len(weights)),
    )


def mix_cycle(weights):
    """Sources in an order that is at every point within one row of the weights: int64 [C].

    A source of less than two rows in LONGEST_CYCLE gets about two.
    """
    share = weights / weights.sum()
    if len(share) == 1:
        return np.zeros(1, np.int64)
    length = int(np.clip(np.ceil(4 / share.min()), 4096, LONGEST_CYCLE))
    share = np.maximum(share, 2 / length)
    share /= share.sum()
    cycle, given = np.zeros(length, np.int64), np.zeros(len(share))
    for row in range(length):
        cycle[row] = np.argmax(share * (row + 1) - given)
        given[cycle[row]] += 1
    return cycle


def local_rows(batch, count, global_batch, shard_index, shard_count):
    """Numbers of the rows of one process in global batches batch..batch+count-1: int64 [N]."""
    share = global_batch // shard_count
    first = (batch + np.arange(count, dtype=np.int64)) * global_batch + shard_index * share
    return (first[:, None] + np.arange(share)).reshape(-1)


def check_shards(global_batch, shard_index, shard_count):
    """DataError unless the processes can share the global batch evenly."""
    if global_batch < 1 or shard_count < 1 or global_batch % shard_count:
        raise DataError(
            f"batch size {global_batch} cannot be shared evenly by {shard_count} processes; "
            "choose a positive multiple"
        )
    if not 0 <= shard_index < shard_count:
        raise DataError(f"shard_index {shard_index} must be in 0..{shard_count - 1} (shard_count)")


@functools.lru_cache(maxsize=32)
def _epoch(seed, source, epoch, episodes):
    """Order of the episodes int64 [E] and a uniform number in [0, 1) for every visit float64 [E].

    Raw counter-based bits, so no version of numpy changes them.
    """
    mask = 2**64 - 1
    key = np.array([seed & mask, source], np.uint64)
    counter = np.array([0, 0, 0, epoch], np.uint64)
    bits = np.random.Philox(key=key, counter=counter).random_raw(2 * episodes)
    return np.argsort(bits[:episodes], kind="stable"), (bits[episodes:] >> 11) * 2.0**-53
