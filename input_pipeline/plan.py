"""Which frames are row j of the endless stream: arithmetic only, the same for every reader.

Global batch i holds rows i*B .. (i+1)*B-1; process p of n takes its own B/n of them. In an epoch
every episode of a source is visited once, for all or some of its starts, in a new order.
E episodes of a source, N rows asked for, T frames of a row, C rows of a cycle.
"""

import dataclasses
import functools

import numpy as np

from input_pipeline.errors import DataError

LONGEST_CYCLE = 65536
PLAIN_CHUNK = 16  # episodes read together where nothing has to be shuffled
MASK = 2**64 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Share:
    """What the plan draws from one source.

    places: int64 [E] into its table; pairs: int64 [E], starts of each episode; rows: int64 [E], how
    many of them an epoch takes; cost: float64 [E], bytes of the frames that these need; gap:
    (least, greatest) steps between two frames; starts: None, or int64 [pairs.sum()], the steps
    that are starts, episode after episode.
    """

    places: np.ndarray
    pairs: np.ndarray
    rows: np.ndarray
    cost: np.ndarray
    gap: tuple
    starts: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Epoch:
    """order, uniform: of every visit its episode and a number in [0, 1); ends, chunk_ends: rows
    of the epoch up to the end of every visit and of every chunk."""

    order: np.ndarray
    uniform: np.ndarray
    ends: np.ndarray
    chunk_ends: np.ndarray


class Plan:
    """The endless stream. cycle: int64 [C], source of row j is cycle[j % C]."""

    def __init__(self, seed, shares, cycle, frames, chunk_bytes=None):
        """chunk_bytes: None shuffles a whole epoch; otherwise for every source the bytes of the
        episodes that are shuffled together, which a reader keeps in memory."""
        self.cycle, self._seed, self._shares, self._frames = cycle, int(seed), shares, frames
        self._per_cycle = np.bincount(cycle, minlength=len(shares))
        self._ranks = np.zeros(len(cycle), np.int64)
        for source in np.unique(cycle):
            mine = cycle == source
            self._ranks[mine] = np.arange(mine.sum())
        self._chunk_bytes = chunk_bytes
        self._totals = [int(share.rows.sum()) for share in shares]
        self._plain = [bool((share.rows == 1).all()) for share in shares]
        self._epoch = functools.lru_cache(maxsize=4 * len(shares))(self._make_epoch)

    def rows(self, row):
        """Rows number `row` (int64 [N]): source, episode (place in its table), epoch int64 [N],
        times int64 [N,T] (steps of the episode)."""
        turn, place = np.divmod(row, len(self.cycle))
        source = self.cycle[place]
        position = turn * self._per_cycle[source] + self._ranks[place]
        episode, epoch = np.zeros_like(row), np.zeros_like(row)
        times = np.zeros((len(row), self._frames), np.int64)
        for s in np.unique(source):
            mine = source == s
            episode[mine], times[mine] = self.visits(int(s), position[mine])
            epoch[mine] = position[mine] // self._totals[s]
        return {"source": source, "episode": episode, "times": times, "epoch": epoch}

    def position(self, row):
        """How many rows of every source come before row number `row`: int64 [sources]."""
        turn, place = divmod(row, len(self.cycle))
        before = np.bincount(self.cycle[:place], minlength=len(self._shares))
        return turn * self._per_cycle + before

    def visits(self, source, position):
        """Episodes int64 [N] and times int64 [N,T] of a source's own rows `position`."""
        share = self._shares[source]
        epochs, within = np.divmod(position, self._totals[source])
        episode, start = np.zeros_like(position), np.zeros_like(position)
        for number in np.unique(epochs):
            mine = epochs == number
            episode[mine], start[mine] = self._starts(source, int(number), within[mine])
        least, greatest = share.gap
        key = mix(np.uint64(self._seed & MASK), 1, source)
        jitter = mix(key, position.astype(np.uint64)) % np.uint64(greatest - least + 1)
        gap = least + jitter.astype(np.int64)
        times = start[:, None] + gap[:, None] * np.arange(self._frames)
        return share.places[episode], times

    def chunk_end(self, source, position):
        """The first of a source's own rows after the chunk that row `position` is in."""
        number, within = divmod(int(position), self._totals[source])
        ends = self._epoch(source, number).chunk_ends
        return number * self._totals[source] + int(ends[np.searchsorted(ends, within, "right")])

    def fractions(self):
        """Exact share of the rows that every source gets: float64 [sources]."""
        return self._per_cycle / len(self.cycle)

    def _starts(self, source, number, row):
        """Episode (of the share) and start of rows `row` of epoch `number`."""
        share, epoch = self._shares[source], self._epoch(source, number)
        if not self._plain[source]:
            chunk = np.searchsorted(epoch.chunk_ends, row, "right")
            begin = np.concatenate([[0], epoch.chunk_ends])[chunk]
            key = mix(np.uint64(self._seed & MASK), 2, source, number, chunk.astype(np.uint64))
            row = begin + permute(row - begin, epoch.chunk_ends[chunk] - begin, key)
        visit = np.searchsorted(epoch.ends, row, "right")
        episode = epoch.order[visit]
        pairs, count = share.pairs[episode], share.rows[episode]
        turn = row - (epoch.ends[visit] - count)
        # a random start, and the others at even distances from it
        start = ((epoch.uniform[visit] * pairs).astype(np.int64) + turn * pairs // count) % pairs
        if share.starts is not None:
            start = share.starts[(np.cumsum(share.pairs) - share.pairs)[episode] + start]
        return episode, start

    def _make_epoch(self, source, number):
        share = self._shares[source]
        order, uniform = _shuffled(self._seed, source, number, len(share.places))
        ends = np.cumsum(share.rows[order])
        if self._chunk_bytes is None:
            last = np.array([len(order) - 1])
        else:
            budget = self._chunk_bytes[source]
            if self._plain[source]:
                budget = min(budget, PLAIN_CHUNK * share.cost.mean())
            chunk = (np.cumsum(share.cost[order]) - share.cost[order]) // budget
            last = np.append(np.flatnonzero(np.diff(chunk)), len(order) - 1)
        return Epoch(order, uniform, ends, ends[last])


def make(seed, shares, weights, frames=2, chunk_bytes=None, phase=0.0):
    """Plan that draws from `shares` in proportion to `weights` (0 for an empty share).

    phase in [0, 1): where in the cycle of sources row 0 is.
    """
    weights = np.asarray(weights, float)
    live = np.flatnonzero(weights)
    cycle = live[mix_cycle(weights[live])]
    cycle = np.roll(cycle, -int(phase * len(cycle)))
    return Plan(seed, tuple(shares), cycle, frames, chunk_bytes)


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


def mix(*words):
    """A well-mixed number of some words (whole numbers or uint64 [N]): uint64 (splitmix64)."""
    state = np.uint64(0)
    with np.errstate(over="ignore"):
        for word in words:
            state = (state ^ np.uint64(word)) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def permute(index, size, key):
    """Where element `index` of 0..size-1 goes in the random order of a key: int64 [N].

    index, size int64 [N], key uint64 [N] or one. A Feistel network of four rounds that is walked
    until it is within the size (Black and Rogaway, 2002): no order of N elements is ever stored. A
    turn by a random number comes first, as a network of few bits has its likings.
    """
    size, key = (np.broadcast_to(x, index.shape) for x in (size, key))
    bits = np.ceil(np.log2(np.maximum(size, 2))).astype(np.uint64)
    half = (bits + np.uint64(1)) // np.uint64(2)
    turned = index.astype(np.uint64) + mix(key, 4) % size.astype(np.uint64)
    found, todo = turned % size.astype(np.uint64), np.arange(len(index))
    while len(todo):
        found[todo] = _feistel(found[todo], half[todo], key[todo])
        todo = todo[found[todo] >= size[todo].astype(np.uint64)]
    return found.astype(np.int64)


def _feistel(x, half, key):
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & mask
    for turn in range(4):
        left, right = right, left ^ (mix(key, turn, right) & mask)
    return left << half | right


def _shuffled(seed, source, epoch, episodes):
    """Order of the episodes int64 [E] and a uniform number in [0, 1) for every visit float64 [E].

    Raw counter-based bits, so no version of numpy changes them.
    """
    key = np.array([seed & MASK, source], np.uint64)
    counter = np.array([0, 0, 0, epoch], np.uint64)
    bits = np.random.Philox(key=key, counter=counter).random_raw(2 * episodes)
    return np.argsort(bits[:episodes], kind="stable"), (bits[episodes:] >> 11) * 2.0**-53
