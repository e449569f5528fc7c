"""From the text of `data.sources` to sets that are ready to be read: opened, indexed, split.

The text is `PLACE[@SPLIT][:weight],...`, PLACE a folder (local or gs://), a registered name or a
built-in set. Every set is scanned once (no image is decoded) and its table is kept on disk; scenes
are split, and only then is anything limited.
"""

import dataclasses
import difflib
import functools
import hashlib
import importlib
import logging
import math
import os
import re
import textwrap
from pathlib import Path

import numpy as np

from input_pipeline import keys as keys_lib
from input_pipeline import oxe, rlds, scan, splits
from input_pipeline.errors import DataError
from input_pipeline.table import Table

BUILTIN = ("tabletop",)
PROPORTIONATE = "proportionate"  # in place of a weight: a share of the rest, by size
PART = re.compile(r"(?P<place>[^@]+?)(@(?P<split>\w+(\[[^]]*\])?))?(:(?P<weight>[^:/\]]*))?")
TABLE_VERSION = "1"
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """An indexed set. group: int32 [E] into groups (scenes, or episodes where there are no scenes),
    split: int8 [E] into splits.SPLITS or -1 for nobody's, rate: float32 [E] in Hz or NaN."""

    name: str
    weight: float | str | None
    episode_set: rlds.EpisodeSet
    keys: keys_lib.Keys
    table: Table
    group: np.ndarray
    groups: tuple
    split: np.ndarray
    rate: np.ndarray

    def usable(self, split, span, max_episodes=0):
        """Places in the table of the episodes of `split` that are longer than `span` steps, after
        the limit (of training episodes only): int64 [E]."""
        long = self.table.steps > span
        found = np.flatnonzero(long & (self.split == splits.SPLITS.index(split)))
        if split != "train" or not 0 < max_episodes < len(found):
            return found
        return found[splits.limit(self.episode_set.name, self.table.key[found], max_episodes)]

    def label(self, episode):
        """The name of an episode in messages and batches: "dataset/episode"."""
        return f"{self.name}/{self.table.key[episode].decode()}"


def open_all(data):
    """All sources of the config `data`, indexed and split: list of Source; DataError."""
    wanted, sources, names = wanted_sources(data), [], []
    for index, (place, split, weight) in enumerate(wanted):
        episode_set = rlds.open_set(_folder(place, data), split)
        copies = names.count(episode_set.name)
        names.append(episode_set.name)
        name = episode_set.name + (f"_{copies + 1}" if copies else "")
        registered = oxe.get(episode_set.name)
        options = keys_lib.options(data, index, len(wanted))
        keys = keys_lib.find(episode_set.fields, options, name, registered, episode_set.keys)
        hz = keys_lib.own("hz", data["hz"], index, len(wanted))
        sources.append(_source(name, weight, episode_set, keys, hz, registered, data))
    return sources


def first_remote(data):
    """The first remote folder among the wanted sources, "" if all are here; nothing is opened."""
    folders = (oxe.folder(place, data["root"]) for place, _, _ in wanted_sources(data))
    return next(filter(rlds.is_remote, folders), "")


def wanted_sources(data):
    """Of `data.mixture` or `data.sources`: list of (place, split or "", weight or None)."""
    if not data["mixture"]:
        return parse(data["sources"])
    if data["sources"] not in ("", *BUILTIN):
        raise DataError(
            f"config.data.mixture={data['mixture']} and config.data.sources={data['sources']} "
            "cannot both be given; clear one of them"
        )
    return [(name, "", weight) for name, weight in oxe.mixture(data["mixture"])]


def parse(text):
    """`PLACE[@SPLIT][:weight],...` -> list of (place, split or "", weight or None)."""
    parts = [_part(part.strip()) for part in text.split(",") if part.strip()]
    if not parts:
        raise DataError(
            "config.data.sources is empty; give TFDS version folders, registered names or the name "
            f"of a built-in set ({', '.join(BUILTIN)}), separated by commas"
        )
    places = [(place, split) for place, split, _ in parts]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise DataError(f"config.data.sources names {twice[0]} twice; name it once, with a weight")
    without = [place for place, _, weight in parts if weight is None]
    if without and len(without) < len(parts):
        raise DataError(
            f"config.data.sources gives no weight to {without[0]} but to others; give every source "
            "a :weight or none of them"
        )
    return parts


def _part(text):
    found = PART.fullmatch(text)
    if not found:
        raise DataError(
            f"config.data.sources={text} is not understood; write PLACE, PLACE@train[:90%] or "
            "PLACE:0.5"
        )
    weight = found["weight"]
    if weight is None or weight == PROPORTIONATE:
        return found["place"], found["split"] or "", weight
    try:
        value = float(weight)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise DataError(
            f"config.data.sources={text}: {weight!r} is no weight; write PLACE or PLACE:0.5 with a "
            f"number above 0, or PLACE:{PROPORTIONATE}"
        )
    return found["place"], found["split"] or "", value


def _folder(place, data):
    """The folder of a built-in set, a path or a registered name."""
    if place in BUILTIN:
        builtin = importlib.import_module(f"input_pipeline.{place}")
        return builtin.write(str(cache(data)), file_format="array_record")
    found = oxe.folder(place, data["root"])
    if "/" in found or Path(found).exists():
        return found
    near = difflib.get_close_matches(place, [*BUILTIN, *oxe.SETS])
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise DataError(
        f"config.data.sources={place}: neither a folder nor a known set{hint}; give a TFDS version "
        f"folder, {' or '.join(BUILTIN)}, or a name of: python -m input_pipeline.oxe --list"
    )


def cache(data):
    """Where tables, statistics and built-in sets are kept, never beside the data itself."""
    return Path(data.get("data_dir") or "~/.cache/lam").expanduser()


def _source(name, weight, episode_set, keys, hz, registered, data):
    log.info("%s: %s in %s", name, episode_set.storage, episode_set.path)
    log.info(textwrap.fill(_describe(keys), 80, initial_indent="  ", subsequent_indent="  "))
    table = _table(episode_set, keys, data["on_corrupt"], cache(data))
    if not table.steps.any():
        raise DataError(f"{name}: no episode could be read; check {episode_set.path}")
    if registered and registered.broken:
        log.warning("%s: %s", name, registered.broken)
    by_scene = keys.scene is not None and data["split_by"] == "scene"
    if data["split_by"] == "scene" and not by_scene:
        log.warning(
            "%s: no scene key, so episodes are split by %s; other episodes of a validation scene "
            "may be trained on (config.data.scene_key names a key)",
            name,
            keys.episode or "their place in the files",
        )
    labels = table.scene if by_scene else _without_number(table.key)
    groups, group = np.unique(labels, return_inverse=True)
    groups = tuple(label.decode() for label in groups)
    split = _split(episode_set.name, groups, group, data)
    if len(groups) == 1 and data["val_fraction"] > 0:
        log.warning(
            "%s: all episodes are of one group (%s), so there is no validation set; "
            "config.data.split_by=episode holds out episodes of that group",
            name,
            groups[0],
        )
    rate = _rate(table.rate, hz, registered, name)
    return Source(
        name, weight, episode_set, keys, table, group.astype(np.int32), groups, split, rate
    )


def _split(name, groups, group, data):
    """Split of every episode: int8 [E] into splits.SPLITS, -1 for nobody's."""
    shares = data["val_fraction"], data["test_fraction"]
    if data["split_by"] == "blocks":
        return splits.blocks(name, len(group), *shares, data["block_gap"])
    split_of = splits.assign(name, groups, *shares)
    number = [splits.SPLITS.index(split_of[label]) for label in groups]
    return np.array(number, np.int8)[group]


def _rate(stored, hz, registered, name):
    """Control frequency of every episode: the option's, the file's, the registry's, or NaN."""
    if hz:
        try:
            value = float(hz)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise DataError(f"{name}: config.data.hz={hz} is no frequency; give Hz, above 0")
        return np.full(len(stored), value, np.float32)
    known = registered.hz if registered and registered.hz else math.nan
    return np.where(np.isnan(stored), np.float32(known), stored).astype(np.float32)


def _without_number(keys):
    """Labels without the "#n" that tells episodes of one label apart: they stay together."""
    if not any(b"#" in key for key in keys):
        return keys
    return np.array([re.sub(rb"#\d+$", b"", key) for key in keys])


def _table(episode_set, keys, on_corrupt, folder):
    """The table of a set: made once, then found on disk while its files stay as they are."""
    if episode_set.storage == "frames":
        return scan.scan(episode_set, keys, on_corrupt)
    words = (TABLE_VERSION, episode_set, keys, on_corrupt, [_stamp(f) for f in episode_set.files])
    digest = hashlib.blake2b(repr(words).encode(), digest_size=10).hexdigest()
    place = folder / "index" / f"{episode_set.name}-{digest}"
    if not place.is_dir():
        scan.scan(episode_set, keys, on_corrupt).save(place)
    return _opened(place)


@functools.lru_cache(maxsize=256)
def _opened(place):
    return Table.load(place)


def _stamp(file):
    """Size and time of last change of a file."""
    if "://" not in file:
        stat = os.stat(file)
        return stat.st_size, stat.st_mtime_ns
    from etils import epath

    stat = epath.Path(file).stat()
    return stat.length, stat.mtime


def _describe(keys):
    parts = []
    for field in dataclasses.fields(keys):
        value = getattr(keys, field.name)
        text = " + ".join(value) if isinstance(value, tuple) else str(value or "none")
        if field.name != "scene_pattern" and (value or field.default is dataclasses.MISSING):
            parts.append(f"{field.name}: {(text or 'none').removeprefix('steps/')}")
    return ", ".join(parts)
