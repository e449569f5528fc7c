"""The loader of frame pairs: sources -> split -> plan -> reader -> finished batches.

B batch, T the two frames, H W pixels, A action dims, S state dims; `batch.py` tells the keys.
"""

import dataclasses
import logging
import os

import numpy as np

from input_pipeline import batch as batch_lib
from input_pipeline import plan as plan_lib
from input_pipeline import sources as sources_lib
from input_pipeline import splits
from input_pipeline.errors import DataError

DEFAULTS = {
    "sources": "tabletop",
    "data_dir": "",
    "image_size": 64,
    "gap": 4,
    "val_fraction": 0.1,
    "test_fraction": 0.1,
    "max_episodes": 0,
    "on_corrupt": "error",
    "threads": 0,
}
ON_CORRUPT = ("error", "skip")
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a reader must know of a batch beside its rows; gap in steps, threads at least 1."""

    image_size: int
    gap: int
    action_dim: int
    state_dim: int
    threads: int


class Loader:
    """Iterates for ever over batches; the i-th is a function of (seed, i) and of nothing else."""

    def __init__(self, sources, chosen, plan, layout, shards, split):
        """sources: scanned; chosen: for each the places of its episodes; shards: (global batch,
        shard_index, shard_count)."""
        self.names = [source.name for source in sources]
        self.split = split
        self._sources, self._chosen, self._plan = sources, chosen, plan
        self._layout, self._shards = layout, shards
        self._live = [s for s, places in enumerate(chosen) if len(places)]
        self._scene_ids = _scene_ids(sources)
        self._next, self._batches = 0, None

    @property
    def element_spec(self):
        """{key: (shape, dtype)} of the local rows of a batch."""
        rows = self._shards[0] // self._shards[2]
        layout = self._layout
        return batch_lib.spec(rows, 2, layout.image_size, layout.action_dim, layout.state_dim)

    def get_state(self):
        """The place in the stream: {"batch": number of the next batch}."""
        return {"batch": self._next}

    def set_state(self, state):
        """Go to a place that `get_state` told; the next batch is number state["batch"]."""
        self.close()
        self._next = int(state["batch"])

    def close(self):
        """Stop reading ahead. The loader can still be used: it starts reading again."""
        if hasattr(self._batches, "close"):
            self._batches.close()
        self._batches = None

    def summary(self):
        """Counts of every source, exact; see `_counts`."""
        layout = self._layout
        return {
            source.name: _counts(source, self.split, places, layout.gap)
            for source, places in zip(self._sources, self._chosen, strict=True)
        }

    def __iter__(self):
        return self

    def __next__(self):
        if self._batches is None:
            reader = sources_lib.reader(self._sources[0].episode_set.storage)
            self._batches = reader.batches(self._sources, self._rows, self._layout, self._next)
        try:
            read = next(self._batches)
        except Exception:
            self.close()  # whoever asks again gets the same error, not an end of the data
            raise
        batch = self._finish(self._rows(self._next), read)
        self._next += 1
        return batch

    def _rows(self, number, count=1):
        """Local rows of `count` batches: int64 arrays source, record (of its records), start."""
        rows = self._plan.rows(plan_lib.local_rows(number, count, *self._shards))
        source = np.array(self._live, np.int64)[rows["source"]]
        record = np.zeros_like(source)
        for s in np.unique(source):
            record[source == s] = self._chosen[s][rows["episode"][source == s]]
        return {"source": source, "record": record, "start": rows["start"]}

    def _finish(self, rows, read):
        """The reader's arrays and what follows from the rows: the batch of `batch.py`."""
        layout, sources = self._layout, self._sources
        places = list(zip(rows["source"], rows["record"], rows["start"], strict=True))
        rate = np.array([sources[s].records[r].rate for s, r, _ in places], np.float32)
        action_dims, state_dims = (
            np.array([_dims(source, kind) for source in sources])[rows["source"]]
            for kind in ("action", "state")
        )
        return {
            "frames": read["frames"],
            "dataset_id": rows["source"].astype(np.int32),
            "scene_id": np.array([self._scene_ids[s][r] for s, r, _ in places], np.int32),
            "dt": np.float32(layout.gap) / rate,
            "action": read["action"].sum(axis=1),
            "action_mask": np.arange(layout.action_dim) < action_dims[:, None],
            "state": read["state"],
            "state_mask": np.arange(layout.state_dim) < state_dims[:, None],
            "domain": np.array(
                [_domain(sources[s], sources[s].groups[r]) for s, r, _ in places], object
            ),
            "key": np.array(
                [f"{sources[s].name}/{sources[s].names[r]}@{t}" for s, r, t in places], object
            ),
            "text": np.array(read["text"], object),
        }


def make(data, global_batch, *, shard_index=0, shard_count=1, seed=0, split="train"):
    """Loader of frame pairs from the sources that the mapping `data` names (see `DEFAULTS`).

    Gives this process its global_batch / shard_count rows of every batch. Raises DataError, one
    line, for every mistake in `data` or in the folders.
    """
    data = DEFAULTS | {key: data[key] for key in data}
    _check(data, split)
    plan_lib.check_shards(global_batch, shard_index, shard_count)
    sources = sources_lib.open_all(data)
    gap, chosen = data["gap"], []
    for source in sources:
        _check_lengths(source, gap)
        chosen.append(sources_lib.usable(source, split, gap, data["max_episodes"]))
    live = [s for s, places in enumerate(chosen) if len(places)]
    if not live:
        raise _empty(sources, split)
    for s in set(range(len(sources))) - set(live):
        log.warning("%s: no episode is in the %s split", sources[s].name, split)
    pairs = [_starts(sources[s], chosen[s], gap) for s in live]
    weights = [sources[s].weight or pairs[i].sum() for i, s in enumerate(live)]
    layout = Layout(
        image_size=data["image_size"],
        gap=gap,
        action_dim=max(1, *(_dims(source, "action") for source in sources)),
        state_dim=max(1, *(_dims(source, "state") for source in sources)),
        threads=data["threads"] or min(16, os.cpu_count() or 1),
    )
    plan = plan_lib.make(seed, pairs, weights)
    loader = Loader(sources, chosen, plan, layout, (global_batch, shard_index, shard_count), split)
    log.info("%s split\n%s", split, format_summary(loader.summary()))
    return loader


def format_summary(summary):
    """The counts of `Loader.summary` as a table of at most 80 columns."""
    lines = [f"{'source':<30}{'split':>6}{'scenes':>8}{'episodes':>10}{'pairs':>12}{'used':>12}"]
    for name, counts in summary.items():
        for split, row in counts["splits"].items():
            used = counts["used"] if split == counts["split"] else ""
            lines.append(
                f"{name[:29]:<30}{split:>6}{row['groups']:>8}{row['episodes']:>10}"
                f"{row['pairs']:>12}{used:>12}"
            )
        if counts["short"] or counts["corrupt"]:
            lines.append(
                f"  left out: {counts['short']} episodes too short for a pair, "
                f"{counts['corrupt']} unreadable"
            )
    return "\n".join(lines)


def _check(data, split):
    if split not in splits.SPLITS:
        raise DataError(f"split {split!r} does not exist; choose {', '.join(splits.SPLITS)}")
    for option, least in (("image_size", 1), ("gap", 1), ("max_episodes", 0), ("threads", 0)):
        if not isinstance(data[option], int | np.integer) or data[option] < least:
            raise DataError(
                f"config.data.{option}={data[option]} must be a whole number of at least {least}"
            )
    if data["on_corrupt"] not in ON_CORRUPT:
        raise DataError(
            f"config.data.on_corrupt={data['on_corrupt']} must be one of: {', '.join(ON_CORRUPT)}"
        )
    splits.check(data["val_fraction"], data["test_fraction"])


def _check_lengths(source, gap):
    longest = max((record.steps for record in source.records), default=0)
    if not longest:
        raise DataError(f"{source.name}: no episode could be read; check {source.episode_set.path}")
    if longest <= gap:
        raise DataError(
            f"{source.name}: config.data.gap={gap} is longer than every episode (the longest has "
            f"{longest} steps); set config.data.gap to at most {longest - 1}"
        )


def _empty(sources, split):
    groups = ", ".join(f"{len(source.split_of)} in {source.name}" for source in sources)
    option = "gap (shorter)" if split == "train" else f"{split}_fraction (larger)"
    return DataError(
        f"the {split} split has no episode long enough for a pair (scenes: {groups}); "
        f"change config.data.{option} or add sources"
    )


def _dims(source, kind):
    return sum(source.episode_set.fields[key].size for key in getattr(source.keys, kind))


def _starts(source, places, gap):
    """Number of pairs that each episode of `places` holds: int64 [E]."""
    return np.array([source.records[place].steps - gap for place in places], np.int64)


def _domain(source, group):
    """The robot of an episode: its set, and the first part of the scene's name if it has parts."""
    robot, slash, _ = group.partition("/") if source.keys.scene else ("", "", "")
    return f"{source.name}/{robot}" if slash and robot else source.name


def _scene_ids(sources):
    """For each source the number of the group of each of its episodes, unique over all sources."""
    ids, offset = [], 0
    for source in sources:
        number = {group: offset + i for i, group in enumerate(sorted(source.split_of))}
        ids.append([number[group] for group in source.groups])
        offset += len(number)
    return ids


def _counts(source, split, places, gap):
    """Counts of one source: path, storage, short, corrupt, split, used (episodes drawn from), and
    for each split its groups, episodes and pairs (before max_episodes)."""
    table = {}
    for name in splits.SPLITS:
        every = sources_lib.usable(source, name, gap)
        table[name] = {
            "groups": len({source.groups[place] for place in every}),
            "episodes": len(every),
            "pairs": int(_starts(source, every, gap).sum()),
        }
    return {
        "path": source.episode_set.path,
        "storage": source.episode_set.storage,
        "short": sum(record.steps <= gap for record in source.records),
        "corrupt": source.corrupt,
        "split": split,
        "used": len(places),
        "splits": table,
    }
