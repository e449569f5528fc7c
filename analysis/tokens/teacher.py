"""The motion of pairs of frames as analyses of tokens see it: by the flow teacher, or the true one.

N pairs, H W pixels. Flow in pixels, x right, y down.
"""

import functools

import jax
import numpy as np

from input_pipeline import tabletop
from input_pipeline.tabletop import stored
from lam.errors import UserError
from lam.flow import load
from lam.flow.pairs import Batch
from lam.flow.program import Measure
from lam.ops import motion

EXACT = "exact"


class Teacher:
    """The flow by the weights of a file and its summary, in batches of one size."""

    def __init__(self, name, updates, batch):
        """name: of weights, as `lam.flow.load` takes it; updates: of the flow; batch: N at once."""
        self._measure, self._batch = Measure(load(name), updates), batch

    def __call__(self, first, second, seconds=None):
        """(flow float32 [N,H,W,2], its `motion.summary`) of frames uint8 [N,H,W,3]; N at least 1.
        seconds: float [N] between them, None for rates per pair."""
        total = len(first)
        seconds = np.ones(total, np.float32) if seconds is None else seconds
        parts = []
        for begin in range(0, total, self._batch):
            rows = np.minimum(np.arange(begin, begin + self._batch), total - 1)
            frames = np.stack([first[rows], second[rows]], axis=1)
            parts.append(self._measure(Batch(frames, None, None, None, seconds[rows])))
        return jax.tree.map(lambda *x: np.concatenate(x)[:total], *parts)


class Exact:
    """The true flow of pairs of `tabletop`: each episode made anew from what is stored of it."""

    def __init__(self, sources, image_size, batch):
        """sources: `input_pipeline.sources.Source` of each dataset_id; batch: N at most.

        Raises:
          UserError: one of them is no tabletop set as it was generated.
        """
        for source in sources:
            if not stored.known(source):
                raise UserError(
                    f"--flow={EXACT} is known of tabletop sets alone, as they were generated, not "
                    f"of {source.name}: use --flow=shipped"
                )
        self._sources, self._size, self._batch = sources, image_size, batch
        self._places = [
            {source.label(e): e for e in range(len(source.table))} for source in sources
        ]
        self._summary = jax.jit(motion.summary)
        self._episode = functools.lru_cache(maxsize=8)(self._made)

    def __call__(self, batch, gap_N):
        """(flow float32 [N,H,W,2], its `motion.summary`) of a host batch of the loader whose pairs
        are `gap_N` steps apart."""
        flow_NHW2 = np.stack([
            self._flow(int(source), key, int(gap))
            for source, key, gap in zip(batch["dataset_id"], batch["key"], gap_N, strict=True)
        ])  # fmt: skip
        count = len(flow_NHW2)
        rows = np.minimum(np.arange(self._batch), count - 1)  # one size, so one program
        found = jax.device_get(self._summary(flow_NHW2[rows], batch["dt"][rows]))
        return flow_NHW2, jax.tree.map(lambda x: x[:count], found)

    def _flow(self, source, key, gap):
        label, _, step = key.rpartition("@")
        episode = self._episode(source, self._places[source][label])
        return tabletop.flow(episode, int(step), gap, self._size)

    def _made(self, source, place):
        return tabletop.episode_from_metadata(stored.metadata(self._sources[source], place))
