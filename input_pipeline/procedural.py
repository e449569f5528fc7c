"""Batches of random words only, for tasks that make their data themselves, on the device.

`config.data.sources=procedural`. B batch.

| key  | dtype  | shape | meaning                                                       |
|------|--------|-------|---------------------------------------------------------------|
| seed | uint32 | [B,2] | two random words, all there is to know of a row               |
| key  | object | [B]   | "procedural/SPLIT@ROW", host only                             |
"""

import numpy as np

from input_pipeline import plan, splits
from input_pipeline.errors import DataError


class Loader:
    """Iterates for ever over batches; the i-th is a function of (seed, split, i) alone."""

    def __init__(self, shards, seed, split):
        """shards: (global batch, shard_index, shard_count)."""
        self._shards, self._seed, self._split, self._next = shards, int(seed), split, 0

    @property
    def element_spec(self):
        """{key: (shape, dtype)} of the local rows of a batch."""
        rows = self._shards[0] // self._shards[2]
        return {"seed": ((rows, 2), np.uint32), "key": ((rows,), np.object_)}

    def get_state(self):
        """{"batch": number of the next batch}."""
        return {"batch": self._next}

    def set_state(self, state):
        """Go to a place that `get_state` told."""
        self._next = int(state["batch"])

    def close(self):
        """Nothing is open."""

    def summary(self):
        """No source is counted: {}."""
        return {}

    def statistics(self):
        """Nothing is normalised: {}."""
        return {}

    def __iter__(self):
        return self

    def __next__(self):
        row_N = plan.local_rows(self._next, 1, *self._shards)
        word_N = plan.mix(self._seed, splits.SPLITS.index(self._split), row_N)
        words_N2 = np.stack([word_N >> np.uint64(32), word_N & np.uint64(2**32 - 1)], axis=1)
        keys = np.array([f"procedural/{self._split}@{row}" for row in row_N], object)
        self._next += 1
        return {"seed": words_N2.astype(np.uint32), "key": keys}


def make(global_batch, *, shard_index=0, shard_count=1, seed=0, split="train"):
    """The loader of this process's rows; DataError for a batch that cannot be shared, or a split
    that does not exist."""
    if split not in splits.SPLITS:
        raise DataError(f"split {split!r} does not exist; choose {', '.join(splits.SPLITS)}")
    plan.check_shards(global_batch, shard_index, shard_count)
    return Loader((global_batch, shard_index, shard_count), seed, split)
