"""Every pair of the sources once, in order: for programs that label data, not for training.

Local files only, read at random (`random_access`), without TensorFlow.
N rows asked for, T frames of a row, V episodes of all sources.
"""

import hashlib

import numpy as np

from input_pipeline import loader, options, shares, splits
from input_pipeline import plan as plan_lib
from input_pipeline import sources as sources_lib
from input_pipeline.errors import DataError

GOLDEN = (5**0.5 - 1) / 2  # its multiples, without what is before the point, fill 0..1 evenly
ALL = "all"  # beside the names of splits: every episode, also those that no split has


class Order:
    """Which frames are row j of the pairs in order; what `plan.Plan` is to the endless stream."""

    def __init__(self, shares, frames, limit=0, domain_V=None, per_domain=0, seed=0):
        """shares: a `plan.Share` of each source; limit: so many rows, spread evenly; 0: all;
        domain_V: name of each episode's domain, of each of which `per_domain` rows are taken,
        spread evenly from a place that the seed tells; 0: all."""
        self._source_V = np.repeat(np.arange(len(shares)), [len(one.places) for one in shares])
        self._episode_V = np.concatenate([one.places for one in shares])
        pairs_V = np.concatenate([one.pairs for one in shares])
        self._end_V = np.cumsum(pairs_V)
        self._begin_V = self._end_V - pairs_V
        starts = [one.starts for one in shares]
        self._starts = None if starts[0] is None else np.concatenate(starts)
        self._gap = np.array([one.gap[0] for one in shares])
        self._frames, self._pairs = frames, int(pairs_V.sum())
        self._domain_V, self._chosen = domain_V, None
        if per_domain:
            self._chosen = self._of_each(pairs_V, per_domain, seed)
        self._rows = min(limit or self._pairs, self._pairs)

    def __len__(self):
        return self._rows if self._chosen is None else len(self._chosen)

    def domains(self, row):
        """Names of the domains of rows number `row`: str [N]."""
        return self._domain_V[self._visit(row)[0]]

    def totals(self):
        """{domain: pairs that there are of it}, sorted by name."""
        pairs_V = self._end_V - self._begin_V
        return {
            str(name): int(pairs_V[self._domain_V == name].sum())
            for name in np.unique(self._domain_V)
        }

    def _of_each(self, pairs_V, count, seed):
        """Numbers of `count` pairs of each domain, ascending: int64 [N]."""
        found = []
        for name in np.unique(self._domain_V):
            mine = self._domain_V == name
            ends = np.cumsum(pairs_V[mine])
            total = int(ends[-1])
            taken = min(count, total)
            pair = spread(np.arange(taken), taken, total, phase_of(seed, name))
            visit = np.searchsorted(ends, pair, "right")
            found.append(self._begin_V[mine][visit] + pair - (ends - pairs_V[mine])[visit])
        return np.sort(np.concatenate([np.zeros(0, np.int64), *found]))

    def _visit(self, row):
        """Of rows number `row` the visit of an episode, and the number of the pair: int64 [N]."""
        row = row[row < len(self)]
        if self._chosen is None:
            pair = spread(row, self._rows, self._pairs)
        else:
            pair = self._chosen[row]
        return np.searchsorted(self._end_V, pair, "right"), pair

    def rows(self, row):
        """Rows number `row` (int64 [N]), without those after the last: source, episode (place in
        its table) int64 [N], times int64 [N,T] (steps of the episode)."""
        visit, pair = self._visit(row)
        source, episode = self._source_V[visit], self._episode_V[visit]
        start = pair - self._begin_V[visit] if self._starts is None else self._starts[pair]
        times = start[:, None] + self._gap[source][:, None] * np.arange(self._frames)
        return {"source": source, "episode": episode, "times": times}


class Pairs:
    """Iterates over the batches of `batch.py`, from the first one each time; the last is smaller.

    len() is the number of pairs, not of batches. One iteration at a time.

    Attributes:
      names: of the sources, in the order of dataset_id.
      gaps: steps between two frames of each source.
      totals: {domain: pairs that there are of it}, whatever was asked for.
      sources: the `sources.Source` of each name.
    """

    def __init__(self, rows, order, batch_size, gaps):
        self.names, self.gaps, self.totals = rows.names, gaps, order.totals()
        self.sources = rows.sources
        self._loader, self._order, self._batch_size = rows, order, batch_size

    def __len__(self):
        return len(self._order)

    def __iter__(self):
        return self.batches(0)

    def domains(self):
        """The domain of every pair in order: str [len(self)]."""
        return self._order.domains(np.arange(len(self)))

    def batches(self, first, count=None):
        """Yields `count` batches from number `first` on; None for all that come."""
        total = -(-len(self) // self._batch_size)
        self._loader.set_state({"batch": first})
        try:
            for _ in range(first, total if count is None else min(total, first + count)):
                yield next(self._loader)
        finally:
            self._loader.close()


def pairs(data, batch_size, split=ALL, limit=0, per_domain=0, seed=0):
    """Pairs, or windows, of the sources that the mapping `data` names: see `Pairs`.

    In order of source, episode (as in its files) and step; of each source all pairs that training
    may draw. What else decides what training draws next (weights, pairs_per_episode, backend) is
    not looked at.

    Args:
      data: any of `options.DEFAULTS`; gap_jitter must be 0.
      batch_size: rows of a batch but for the last.
      split: "train" (then max_episodes holds), "val", "test" or "all".
      limit: so many pairs at most, spread evenly over all; 0 is no limit.
      per_domain: in place of it, so many of each domain at most, spread evenly over those of it,
        which ones the seed tells; 0 is no limit.

    Raises:
      DataError: one line, for every mistake in the options or the folders, and for remote ones.
    """
    data = options.DEFAULTS | {key: data[key] for key in data}
    _check(data, batch_size, split, limit, per_domain)
    sources, drawn, domains = sources_lib.open_all(data), [], []
    for source in sources:
        gap, steps = shares.span(source, data)
        if split == ALL:
            places = np.flatnonzero(source.table.steps > steps)
        else:
            places = np.sort(source.usable(split, steps, data["max_episodes"]))
        drawn.append(shares.share(source, places, gap, steps, data))
        names = [loader.domain_of(source, g) for g in source.group[drawn[-1].places]]
        domains.append(np.array(names, str))
    order = Order(drawn, data["frames"], limit, np.concatenate(domains), per_domain, seed)
    if not len(order):
        raise loader.empty(sources, split)
    reader, shards = {"backend": "random"}, (batch_size, 0, 1)
    rows = loader.Loader(sources, order, reader, loader.layout_of(data), shards, data, {})
    return Pairs(rows, order, batch_size, [one.gap[0] for one in drawn])


def phase_of(seed, name):
    """A number in [0, 1) that a seed and a name tell."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def spread(number, count, total, phase=0.5):
    """Which of `total` things in a line is number `number` (int64 [N]) of `count` that are spread
    evenly over them: int64 [N], ascending; all of them where count is total.

    One of each of `count` equal parts, at a place in it that never recurs: even steps could meet
    all episodes of one length at the same step. phase: in [0, 1), of these places.
    """
    begin, end = (place * total // count for place in (number, number + 1))
    within = (number * GOLDEN + phase) % 1
    return begin + (within * (end - begin)).astype(np.int64)


def _check(data, batch_size, split, limit, per_domain):
    if split not in (ALL, *splits.SPLITS):
        known = ", ".join((ALL, *splits.SPLITS))
        raise DataError(f"split {split!r} does not exist; choose {known}")
    options.check(data, splits.SPLITS[0] if split == ALL else split)
    plan_lib.check_shards(batch_size, 0, 1)
    for name, value in (("limit", limit), ("per_domain", per_domain)):
        if value < 0:
            raise DataError(f"{name}={value} must be a whole number of at least 0")
    if data["gap_jitter"]:
        raise DataError(
            f"config.data.gap_jitter={data['gap_jitter']:g} gives no one order of pairs; set it to "
            "0, the middle of the gaps"
        )
    if folder := sources_lib.first_remote(data):  # indexing would read it whole
        raise DataError(
            f"{folder}: a remote folder cannot be read pair by pair; convert it to a local one "
            "(python -m input_pipeline.convert), or set config.data.root to where your copy is"
        )
