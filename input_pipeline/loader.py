"""The loader of frame pairs and windows: sources -> split -> plan -> reader -> finished batches.

B batch, T frames of a row, H W pixels, A action dims, S state dims; `batch.py` tells the keys.
"""

import dataclasses
import importlib
import logging
import os

import numpy as np

from input_pipeline import batch as batch_lib
from input_pipeline import options, report, statistics
from input_pipeline import plan as plan_lib
from input_pipeline import shares as shares_lib
from input_pipeline import sources as sources_lib
from input_pipeline.errors import DataError

READERS = {"random": "input_pipeline.random_access", "stream": "input_pipeline.stream"}
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a reader must know of a batch beside its rows; threads at least 1."""

    image_size: int
    frames: int
    threads: int


class Loader:
    """Iterates for ever over batches; the i-th is a function of (seed, i) and of nothing else."""

    def __init__(self, sources, plan, reader, layout, shards, data, counts):
        """plan: of the row numbers that shards = (batch, shard_index, shard_count) names; reader:
        {"backend": name, ...}, all that the order of rows depends on beside the seed; data: the
        options; counts: {name: `report.counts`}."""
        self.names = [source.name for source in sources]
        self.sources, self._plan, self._layout, self._shards = sources, plan, layout, shards
        self._reader, self._data, self._counts = reader, data, counts
        self._dims = {kind: [_dims(s, kind) for s in sources] for kind in ("action", "state")}
        self._scenes = np.cumsum([0] + [len(source.groups) for source in sources])
        self._normal = self.statistics() if data["normalize"] else {}
        self._next, self._batches = 0, None

    @property
    def element_spec(self):
        """{key: (shape, dtype)} of the local rows of a batch."""
        return self._spec(self._shards[0] // self._shards[2])

    def get_state(self):
        """The place in the stream: {"batch": number of the next batch}, and where the order depends
        on the reader what it depends on."""
        return {"batch": self._next} | self._reader_state()

    def set_state(self, state):
        """Go to a place that `get_state` told; the next batch is number state["batch"].

        Raises DataError where the rows before it were in another order than they would be here.
        """
        theirs = {key: state[key] for key in ("backend", "processes") if key in state}
        if state["batch"] and theirs != self._reader_state():
            raise DataError(
                f"the run read its data by {_reader_text(theirs)}, this is "
                f"{_reader_text(self._reader_state())}, and their orders differ; go on as it began "
                "(config.data.backend=random has one order for any number of processes)"
            )
        self.close()
        self._next = int(state["batch"])

    def close(self):
        """Stop reading ahead. The loader can still be used: it starts reading again."""
        if hasattr(self._batches, "close"):
            self._batches.close()
        self._batches = None

    def summary(self):
        """Counts of every source, exact: {name: `report.counts`}."""
        return self._counts

    def statistics(self):
        """{name: `statistics.of` the source's training episodes}; kept on disk once computed."""
        folder = sources_lib.cache(self._data)
        return {
            source.name: statistics.cached(source, source.usable("train", 0), folder)
            for source in self.sources
        }

    def __iter__(self):
        return self

    def __next__(self):
        if self._batches is None:
            self._batches = self._read()
        try:
            frames_BTHWC = next(self._batches)
        except Exception:
            self.close()  # whoever asks again gets the same error, not an end of the data
            raise
        batch = self._finish(self._rows(self._next), frames_BTHWC)
        self._next += 1
        return batch

    def _read(self):
        """The reader's frames from batch number `_next` on."""
        reader = importlib.import_module(READERS[self._reader["backend"]])
        if self._reader["backend"] == "random":
            return reader.batches(self.sources, self._rows, self._layout, self._next)
        return reader.batches(self.sources, self._plan, self._layout, self._next, self._shards[0])

    def _reader_state(self):
        return {} if self._reader["backend"] == "random" else self._reader

    def _rows(self, number):
        """Local rows of a batch: see `Plan.rows`."""
        return self._plan.rows(plan_lib.local_rows(number, 1, *self._shards))

    def _scaled(self, source, kind, values):
        """Actions or states, normalised where that is wished: float32, shape as they came."""
        if not self._normal:
            return values
        found = self._normal[source.name][kind]
        return statistics.normalise(values, found, self._data["normalize"])

    def _spec(self, rows):
        layout, widths = self._layout, [max(1, *self._dims[kind]) for kind in ("action", "state")]
        return batch_lib.spec(rows, layout.frames, layout.image_size, *widths)

    def _finish(self, rows, frames_BTHWC):
        """The reader's frames and what belongs to the rows: the batch of `batch.py`."""
        count = len(rows["source"])
        batch = {
            key: np.full(count, "", object) if dtype == np.object_ else np.zeros(shape, dtype)
            for key, (shape, dtype) in self._spec(count).items()
            if key != "frames"
        }
        for s in np.unique(rows["source"]):
            mine = np.flatnonzero(rows["source"] == s)
            self._fill(batch, mine, int(s), rows["episode"][mine], rows["times"][mine])
        return {"frames": frames_BTHWC} | batch

    def _fill(self, batch, mine, s, episode, times):
        """Write the rows `mine`, all of source s, but for their frames."""
        source, table = self.sources[s], self.sources[s].table
        step = table.first[episode][:, None] + times
        action_dim, state_dim = self._dims["action"][s], self._dims["state"][s]
        group = source.group[episode]
        batch["dataset_id"][mine] = s
        batch["scene_id"][mine] = self._scenes[s] + group
        batch["dt"][mine] = (times[:, 1] - times[:, 0]) / source.rate[episode]
        for row, place in zip(mine, step, strict=True):
            action_GA = self._scaled(source, "action", table.action[place[0] : place[-1]])
            batch["action"][row, :action_dim] = action_GA.sum(axis=0)
        batch["action_mask"][mine, :action_dim] = True
        batch["state"][mine, :, :state_dim] = self._scaled(source, "state", table.state[step])
        batch["state_mask"][mine, :state_dim] = True
        batch["domain"][mine] = [domain_of(source, g) for g in group]
        batch["key"][mine] = [
            f"{source.label(e)}@{t}" for e, t in zip(episode, times[:, 0], strict=True)
        ]
        batch["text"][mine] = [table.texts[place] for place in table.text_id[step[:, 0]]]


def make(data, global_batch, *, shard_index=0, shard_count=1, seed=0, split="train"):
    """Loader of frame pairs or windows from the sources that the mapping `data` names.

    Gives this process its global_batch / shard_count rows of every batch. `options.DEFAULTS` lists
    what `data` may hold. Raises DataError, one line, for every mistake in it or in the folders.
    """
    data = options.DEFAULTS | {key: data[key] for key in data}
    options.check(data, split)
    plan_lib.check_shards(global_batch, shard_index, shard_count)
    if data["backend"] == "random":
        _check_local(data)
    sources = sources_lib.open_all(data)
    reader = {"backend": _backend(sources, data["backend"])}
    if reader["backend"] == "random":  # also where only the sources' storage made it so
        _check_local(data)
    gaps, spans = zip(*(shares_lib.span(source, data) for source in sources), strict=True)
    chosen = [
        source.usable(split, steps, data["max_episodes"])
        for source, steps in zip(sources, spans, strict=True)
    ]
    counts = _counts(sources, split, chosen, spans)
    shards, phase = (global_batch, shard_index, shard_count), 0.0
    if reader["backend"] == "stream":  # each process has episodes and an order of its own
        reader["processes"] = shard_count
        chosen = shares_lib.deal(sources, chosen, shard_index, shard_count)
        shards, phase = (global_batch // shard_count, 0, 1), shard_index / shard_count
        seed = int(seed) + (shard_index << 32)
    shares = [
        shares_lib.share(*one, data) for one in zip(sources, chosen, gaps, spans, strict=True)
    ]
    pairs = [share.pairs.sum() for share in shares]
    if not any(pairs):
        raise empty(sources, split)
    weights = shares_lib.weights(sources, pairs, data)
    chunks = None
    if reader["backend"] == "stream":  # half of the budget is being read, half is in use
        chunks = data["buffer_gb"] * 0.5e9 * weights / weights.sum()
    plan = plan_lib.make(seed, shares, weights, data["frames"], chunks, phase)
    for found, fraction in zip(counts.values(), plan.fractions(), strict=True):
        found["fraction"] = float(fraction)
    log.info("%s split\n%s", split, report.format_summary(counts))
    return Loader(sources, plan, reader, layout_of(data), shards, data, counts)


def layout_of(data):
    """The Layout that the options wish."""
    threads = data["threads"] or min(16, os.cpu_count() or 1)
    return Layout(data["image_size"], data["frames"], threads)


def _counts(sources, split, chosen, spans):
    """{name: `report.counts`}; a source without episodes in the split is warned of."""
    counts = {}
    for source, places, steps in zip(sources, chosen, spans, strict=True):
        counts[source.name] = report.counts(source, split, len(places), steps)
        if not len(places):
            log.warning("%s: no episode is in the %s split", source.name, split)
    return counts


def _backend(sources, wanted):
    """ "stream" or "random"; stream where all sources are TFRecord files and nothing was said."""
    other = [source for source in sources if source.episode_set.storage != "tfrecord"]
    if wanted == "stream" and other:
        raise DataError(
            f"config.data.backend=stream reads TFRecord files, {other[0].episode_set.path} holds "
            f"{other[0].episode_set.storage}; use auto or random"
        )
    return ("random" if other else "stream") if wanted == "auto" else wanted


def _check_local(data):
    """DataError before a remote source is indexed, which reads it whole."""
    if folder := sources_lib.first_remote(data):
        raise DataError(
            f"{folder}: frames of a remote folder cannot be read one by one; set "
            "config.data.backend=stream (TFRecord sets) or convert it to a local folder "
            "(python -m input_pipeline.convert)"
        )


def empty(sources, split):
    """The DataError for a split without pairs."""
    groups = ", ".join(f"{len(source.groups)} in {source.name}" for source in sources)
    option = f"{split}_fraction" if split in ("val", "test") else "gap"
    return DataError(
        f"the {split} split has no episode long enough for a pair (scenes: {groups}); change "
        f"config.data.{option}, add sources, or set "
        "config.data.split_by=episode to hold out episodes of scenes that are trained on"
    )


def _dims(source, kind):
    return getattr(source.table, kind).shape[1]


def domain_of(source, group):
    """The robot of a split group (a number): its set, and the first part of the scene's name if it
    has parts."""
    robot, slash, _ = source.groups[group].partition("/") if source.keys.scene else ("", "", "")
    return f"{source.name}/{robot}" if slash and robot else source.name


def _reader_text(state):
    if not state:
        return "random access"
    return f"{state['backend']} in {state['processes']} processes"
