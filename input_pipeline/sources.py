"""From the text of `data.sources` and the folders it names to episodes that are ready to be read.

The text is `PATH_OR_NAME[:weight],...`; every source is scanned once (no image is decoded), its
scenes are split, and only then is anything limited.
"""

import collections
import dataclasses
import difflib
import importlib
import logging
import math
import os
import textwrap
from pathlib import Path

import numpy as np

from input_pipeline import keys as keys_lib
from input_pipeline import rlds, splits
from input_pipeline.errors import DataError

BUILTIN = ("tabletop",)
READERS = {"array_record": "input_pipeline.arrayrecord", "tfrecord": "input_pipeline.tfrecord"}
_SCANNED = {}
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Record:
    """One episode as the scan found it. file: place in the set's files; record: number in the
    file; offset, length: of its bytes (TFRecord only); scene, path: or None; rate in Hz or NaN."""

    file: int
    record: int
    offset: int
    length: int
    steps: int
    scene: str | None
    path: str | None
    rate: float


@dataclasses.dataclass(frozen=True)
class Source:
    """A scanned set. names, groups (of the split) and records have one entry an episode."""

    name: str
    weight: float | None
    episode_set: rlds.EpisodeSet
    keys: keys_lib.Keys
    records: tuple
    names: tuple
    groups: tuple
    split_of: dict
    corrupt: int


def reader(storage):
    """The module that scans and reads one kind of storage, imported now: `scan` and `batches`."""
    return importlib.import_module(READERS[storage])


def open_all(data):
    """All sources of the config `data`, scanned and split: list of Source; DataError."""
    wanted = parse(data["sources"])
    sets = [rlds.open_set(_folder(place, data)) for place, _ in wanted]
    _check_storage(sets)
    names, sources = [], []
    for index, (episode_set, (_, weight)) in enumerate(zip(sets, wanted, strict=True)):
        copies = sum(other.name == episode_set.name for other in sets[:index])
        names.append(episode_set.name + (f"_{copies + 1}" if copies else ""))
        options = keys_lib.options(data, index, len(sets))
        sources.append(_scan(episode_set, names[-1], weight, options, data))
    return sources


def parse(text):
    """`PATH_OR_NAME[:weight],...` -> list of (place, weight or None), all or none with a weight."""
    pairs = [_weighted(part.strip()) for part in text.split(",") if part.strip()]
    if not pairs:
        raise DataError(
            "config.data.sources is empty; give TFDS version folders or the name of a built-in "
            f"set ({', '.join(BUILTIN)}), separated by commas"
        )
    places = [place for place, _ in pairs]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise DataError(f"config.data.sources names {twice} twice; name it once, with a weight")
    without = [place for place, weight in pairs if weight is None]
    if without and len(without) < len(pairs):
        raise DataError(
            f"config.data.sources gives no weight to {without[0]} but to others; give every source "
            "a :weight or none of them"
        )
    return pairs


def usable(source, split, gap, max_episodes=0):
    """Places of the episodes of `split` with a pair, after the limit (train only): int64 [E]."""
    found = np.array(
        [
            place
            for place, (record, group) in enumerate(zip(source.records, source.groups, strict=True))
            if source.split_of[group] == split and record.steps > gap
        ],
        np.int64,
    )
    if split != "train":
        return found
    name = source.episode_set.name
    return found[splits.limit(name, [source.names[place] for place in found], max_episodes)]


def _weighted(part):
    place, colon, weight = part.rpartition(":")
    if not colon or "/" in weight:
        return part, None
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not place or not 0 < value < math.inf:
        raise DataError(
            f"config.data.sources={part}: {weight!r} is no weight; write PATH or PATH:0.5 "
            "with a number above 0"
        )
    return place, value


def _folder(place, data):
    if place in BUILTIN:
        builtin = importlib.import_module(f"input_pipeline.{place}")
        cache = data.get("data_dir") or Path("~/.cache/lam").expanduser()
        return builtin.write(str(cache), file_format="array_record")
    if "/" not in place and not Path(place).exists():
        near = difflib.get_close_matches(place, BUILTIN)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise DataError(
            f"config.data.sources={place}: neither a folder nor a built-in set{hint}; "
            f"give a TFDS version folder or one of: {', '.join(BUILTIN)}"
        )
    return place


def _check_storage(sets):
    for episode_set in sets:
        if episode_set.storage not in READERS:
            raise DataError(
                f"{episode_set.path}: its file format is {episode_set.storage}; "
                f"this reads {' and '.join(READERS)}"
            )
    kinds = {episode_set.storage: episode_set.path for episode_set in sets}
    if len(kinds) > 1:
        raise DataError(
            "the sources mix storage kinds ("
            + ", ".join(f"{path} is {kind}" for kind, path in sorted(kinds.items()))
            + "); give sources of one kind"
        )


def _scan(episode_set, name, weight, options, data):
    keys = keys_lib.find(episode_set.fields, options, name)
    log.info("%s: %s in %s", name, episode_set.storage, episode_set.path)
    log.info(textwrap.fill(_describe(keys), 80, initial_indent="  ", subsequent_indent="  "))
    records, corrupt = _records(episode_set, keys, data["on_corrupt"])
    names = _unique([_label(episode_set, record) for record in records])
    if keys.scene is None:
        log.warning(
            "%s: no scene key, so episodes are split by %s; other episodes of a validation scene "
            "may be trained on (config.data.scene_key names a key)",
            name,
            keys.episode or "their place in the files",
        )
    groups = tuple(
        record.scene if keys.scene else _label(episode_set, record) for record in records
    )
    split_of = splits.assign(episode_set.name, groups, data["val_fraction"], data["test_fraction"])
    if len(split_of) == 1 and data["val_fraction"] > 0:
        log.warning(
            "%s: all episodes are of one group (%s), so there is no validation set",
            name,
            next(iter(split_of)),
        )
    return Source(name, weight, episode_set, keys, tuple(records), names, groups, split_of, corrupt)


def _records(episode_set, keys, on_corrupt):
    """The scan of a set, done once in a process for as long as its files stay as they are."""
    stats = [os.stat(file) for file in episode_set.files]
    files = tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)
    place = (episode_set.path, files, keys, on_corrupt)
    if place not in _SCANNED:
        scan = reader(episode_set.storage).scan
        _SCANNED[place] = scan(episode_set, keys, on_corrupt)
    return _SCANNED[place]


def _describe(keys):
    parts = []
    for field in dataclasses.fields(keys):
        value = getattr(keys, field.name)
        text = " + ".join(value) if isinstance(value, tuple) else value
        parts.append(f"{field.name}: {(text or 'none').removeprefix('steps/')}")
    return ", ".join(parts)


def _label(episode_set, record):
    return record.path or f"{episode_set.labels[record.file]}__{record.record}"


def _unique(labels):
    """Labels with "#n" after those that occur more than once."""
    total, seen, unique = collections.Counter(labels), collections.Counter(), []
    for label in labels:
        unique.append(f"{label}#{seen[label]}" if total[label] > 1 else label)
        seen[label] += 1
    return tuple(unique)
