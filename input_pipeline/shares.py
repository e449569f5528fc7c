"""What the plan draws from each source: which starts of which episodes, how often, how far apart.

E episodes, F frames of all of them.
"""

import logging

import numpy as np

from input_pipeline import motion_filter, options
from input_pipeline.errors import DataError
from input_pipeline.plan import Share
from input_pipeline.sources import PROPORTIONATE, cache

log = logging.getLogger(__name__)


def span(source, data):
    """(least, greatest) steps between two frames, and steps from the first to the last frame.

    Raises DataError where no episode of the source is that long.
    """
    finite = source.rate[np.isfinite(source.rate)]
    rate = float(np.median(finite)) if len(finite) else np.nan
    gap = options.gap(data, rate, source.name)
    steps = gap[1] * (data["frames"] - 1)
    longest = int(source.table.steps.max())
    if longest <= steps:
        raise DataError(
            f"{source.name}: config.data.gap={gap[1]} with config.data.frames={data['frames']} "
            f"is longer than every episode (the longest has {longest} steps); set config.data.gap "
            f"to at most {max(1, (longest - 1) // (data['frames'] - 1))} steps"
        )
    return gap, steps


def share(source, places, gap, steps, data):
    """The `plan.Share` of the episodes `places`, all longer than `steps`."""
    length = source.table.steps[places].astype(np.int64)
    pairs, starts = length - steps, None
    if data["min_motion"]:
        starts, pairs = _moving(source, places, pairs, gap, data)
        places, length, pairs = (x[pairs > 0] for x in (places, length, pairs))
    rows = np.minimum(pairs, options.starts(data))
    used = np.minimum(1.0, data["frames"] * rows / length)
    return Share(places, pairs, rows, source.table.length[places] * used, gap, starts)


def weights(sources, pairs, data):
    """How much of the rows every source gets, 0 where it has no pairs: float64 [sources].

    pairs: of the episodes that are drawn from. `given` takes the weights as they are,
    `proportionate` multiplies them by pairs ** (1 / temperature) (Octo, OpenVLA: temperature 1);
    sources weighted "proportionate" share by size what the numbers of the others leave of 1.
    """
    pairs = np.asarray(pairs, float)
    given = [source.weight for source in sources]
    size = np.where(pairs > 0, np.maximum(pairs, 1), 0) ** (1 / data["temperature"])
    if PROPORTIONATE in given:
        free = np.array([weight == PROPORTIONATE for weight in given])
        fixed = np.array(
            [0.0 if rest else weight for rest, weight in zip(free, given, strict=True)]
        )
        if fixed.sum() >= 1:
            raise DataError(
                f"config.data.sources: the weights sum to {fixed.sum():g} and leave nothing for "
                f"the sources weighted {PROPORTIONATE}; let them sum to less than 1"
            )
        rest = np.where(free, size, 0.0)
        return np.where(free, (1 - fixed.sum()) * rest / rest.sum(), fixed) * (pairs > 0)
    how = data["weighting"] or ("proportionate" if data["mixture"] or None in given else "given")
    numbers = np.array([1.0 if weight is None else weight for weight in given])
    return numbers * (size if how == "proportionate" else pairs > 0)


def deal(sources, chosen, shard_index, shard_count):
    """Each process's own episodes: every shard_count-th. DataError where one would have none."""
    for source, places in zip(sources, chosen, strict=True):
        if 0 < len(places) < shard_count:
            raise DataError(
                f"{source.name}: {len(places)} episodes cannot be dealt to {shard_count} processes;"
                " use config.data.backend=random, fewer processes or another source"
            )
    return [places[shard_index::shard_count] for places in chosen]


def _moving(source, places, pairs, gap, data):
    """Starts whose frames differ enough: their steps, and how many each episode has."""
    step = (gap[0] + gap[1]) // 2
    scores = motion_filter.scores(source, step, data["threads"], cache(data))
    found = motion_filter.allowed(source.table, places, pairs, scores, data["min_motion"])
    log.info("%s: %s", source.name, motion_filter.report(pairs, found[1], data["min_motion"]))
    return found
