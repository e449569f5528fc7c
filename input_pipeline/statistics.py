"""Normalisation statistics of actions and states, from training episodes only, kept in a cache.

Mean, standard deviation and extremes are exact (float64, blocks merged by Chan's rule). Quantiles
are exact up to SAMPLE steps; of more, one step is drawn from each of SAMPLE equal stretches, which
puts q01 between the true 0.93 % and 1.07 % quantiles (three standard errors, at most).
E episodes, N steps of all of them, D dims.
"""

import dataclasses
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

import numpy as np

from input_pipeline.errors import DataError
from input_pipeline.plan import mix

VERSION = 1
KINDS = ("action", "state")
BLOCK = 65536  # steps in memory at a time
SAMPLE = 200_000
log = logging.getLogger(__name__)


def of(table, places):
    """Statistics of the episodes `places` (int64 [E]) of a Table, whatever their order.

    {"episodes": E, "steps": N, "action": {...}, "state": {...}}, both with mean, std, min, max,
    q01, q99 (lists of D floats) and constant (list of D bools, where std is 0). DataError names
    the episode that holds a NaN or an infinity, and tells of places without steps.
    """
    places = np.sort(places)
    steps = table.steps[places].astype(np.int64)
    total = int(steps.sum())
    if not total:
        raise DataError(
            "there is no training episode to take statistics of; make config.data.val_fraction "
            "and test_fraction smaller or set config.data.normalize to nothing"
        )
    sample, begin = _sample(total), 0
    gathered = {kind: _Moments() for kind in KINDS}
    for part in np.split(np.arange(len(places)), _cuts(steps)):
        rows = _rows(table.first[places[part]], steps[part])
        drawn = sample[slice(*np.searchsorted(sample, [begin, begin + len(rows)]))] - begin
        for kind, moments in gathered.items():
            values_ND = np.asarray(getattr(table, kind)[rows], np.float64)
            _check(values_ND, kind, table, places[part], steps[part])
            moments.add(values_ND, values_ND[drawn])
        begin += len(rows)
    found = {kind: moments.summary() for kind, moments in gathered.items()}
    return {"episodes": len(places), "steps": total, **found}


def cached(source, places, folder):
    """`of` the source's table, read from or written to folder/statistics/<key>.json.

    The key is a hash of the set's name, its chosen keys, and of every episode in `places` its key,
    steps, bytes, and first and last action and state; a value that changes in the middle of an
    episode, and nothing else, would go unnoticed.
    """
    table, places = source.table, np.sort(places)
    filled = places[table.steps[places] > 0]
    ends = np.stack([table.first[filled], table.first[filled + 1] - 1])
    arrays = [getattr(table, name)[places] for name in ("steps", "length")]
    arrays += [getattr(table, kind)[ends] for kind in KINDS]
    key = content_key(source, places, arrays, VERSION)
    file = Path(folder).expanduser() / "statistics" / f"{source.episode_set.name}-{key}.json"
    if file.is_file():
        return _read(file)
    log.info("%s: statistics of %d episodes are computed", source.name, len(places))
    found = of(table, places)
    write(file, lambda stream: stream.write(json.dumps(found).encode()))
    return found


def content_key(source, places, arrays, *words):
    """A name for what is computed from the episodes `places` of a source: 20 hex digits.

    It depends on the set's name and keys, on the episodes' keys, on the numpy `arrays` and on the
    `words`, and not on where the set lies.
    """
    digest = hashlib.blake2b(digest_size=10)
    digest.update(repr((source.episode_set.name, source.keys, *words)).encode())
    digest.update(b"\0".join(source.table.key[places].tolist()))
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write(file, fill):
    """Makes the file `file` of what fill(stream) writes: all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}-", delete=False) as new:
        try:
            fill(new)
            new.close()
            os.replace(new.name, file)
        finally:
            Path(new.name).unlink(missing_ok=True)


def normalise(values, found, how):
    """values [...,D] on the scale of `found`, the statistics of their kind: float32 [...,D].

    how: "mean_std" gives mean 0 and deviation 1; "q01_q99" puts q01 at -1 and q99 at 1 without
    cutting off what lies outside (the extremes take their place where q01 is q99). A constant dim
    becomes 0.
    """
    shift, scale = _scaling(found, how)
    divisor = np.where(scale > 0, scale, 1.0)
    return ((values - shift) * (scale > 0) / divisor).astype(np.float32)


def denormalise(values, found, how):
    """The inverse of `normalise`: float32 [...,D]."""
    shift, scale = _scaling(found, how)
    return (values * scale + shift).astype(np.float32)


@dataclasses.dataclass
class _Moments:
    """What is known of the steps so far; drawn: list of float32 [n,D]."""

    count: int = 0
    mean: np.ndarray | float = 0.0
    squares: np.ndarray | float = 0.0
    least: np.ndarray | float = np.inf
    greatest: np.ndarray | float = -np.inf
    drawn: list = dataclasses.field(default_factory=list)

    def add(self, values_ND, drawn_ND):
        """Takes in float64 steps, and those of them that are drawn for the quantiles."""
        count, mean = len(values_ND), values_ND.mean(axis=0)
        apart, total = mean - self.mean, self.count + count
        self.squares = self.squares + np.square(values_ND - mean).sum(axis=0)
        self.squares = self.squares + np.square(apart) * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.least = np.minimum(self.least, values_ND.min(axis=0))
        self.greatest = np.maximum(self.greatest, values_ND.max(axis=0))
        self.drawn.append(drawn_ND.astype(np.float32))
        self.count = total

    def summary(self):
        """The statistics as lists of floats (and bools)."""
        drawn_ND = np.concatenate(self.drawn)
        q01, q99 = np.quantile(drawn_ND.astype(np.float64), [0.01, 0.99], axis=0)
        found = {
            "mean": self.mean,
            "std": np.sqrt(self.squares / self.count),  # of a constant exactly 0
            "min": self.least,
            "max": self.greatest,
            "q01": q01,
            "q99": q99,
            "constant": self.least == self.greatest,
        }
        return {name: value.tolist() for name, value in found.items()}


def _sample(total):
    """Rising numbers of the steps, of `total`, that quantiles are taken of: int64 [<= SAMPLE]."""
    if total <= SAMPLE:
        return np.arange(total)
    ends = np.arange(SAMPLE + 1) * total // SAMPLE
    size = np.diff(ends).astype(np.uint64)
    return ends[:-1] + (mix(np.arange(SAMPLE, dtype=np.uint64)) % size).astype(np.int64)


def _cuts(steps):
    """Where to cut episodes of `steps` into parts of about BLOCK steps: int64."""
    block = (np.cumsum(steps) - steps) // BLOCK
    return np.flatnonzero(np.diff(block)) + 1


def _rows(first, steps):
    """Places in a table of all steps of some episodes: int64 [N]."""
    before = np.cumsum(steps) - steps
    return np.arange(steps.sum()) + np.repeat(first - before, steps)


def _check(values_ND, kind, table, places, steps):
    bad = np.argwhere(~np.isfinite(values_ND))
    if not len(bad):
        return
    row, dim = bad[0].tolist()
    episode = int(np.searchsorted(np.cumsum(steps), row, "right"))
    step = row - int(steps[:episode].sum())
    raise DataError(
        f"{table.key[places[episode]].decode()}: {kind}[{dim}] is {values_ND[row, dim]} at step "
        f"{step}, and statistics need finite numbers; repair that episode or choose another "
        f"config.data.{kind}_key"
    )


def _read(file):
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise DataError(f"{file}: is damaged ({error}); delete it") from error


def _scaling(found, how):
    """Shift and scale of every dim, float64 [D]; the scale of a constant dim is 0."""
    if how == "mean_std":
        return np.asarray(found["mean"], np.float64), np.asarray(found["std"], np.float64)
    if how != "q01_q99":
        raise DataError(f"config.data.normalize={how} is unknown; choose mean_std or q01_q99")
    low, high, least, greatest = (np.asarray(found[n]) for n in ("q01", "q99", "min", "max"))
    flat = low == high
    low, high = np.where(flat, least, low), np.where(flat, greatest, high)
    return (low + high) / 2, (high - low) / 2
