"""Leaving out pairs of frames between which nothing moves.

How far two frames differ is the mean absolute difference of their small grey pictures, in grey
levels (0 to 255): a mean over areas, so that the noise of camera and codec hardly counts.
E episodes, F frames of all of them, N pairs.
"""

import logging
from pathlib import Path

import numpy as np

from input_pipeline import statistics, thumbnails

VERSION = 1
log = logging.getLogger(__name__)


def scores(source, gap_steps, threads, folder):
    """How far every frame of the source differs from the one `gap_steps` later: float32 [F].

    In grey levels, NaN where the episode ends before. Every frame is decoded once; the result is
    kept in folder/motion/<key>.npy, the key a hash of the gap, the set's name, its chosen keys, and
    the keys and bytes of its episodes and frames. threads: 0 for one a core, at most 16.
    """
    table = source.table
    arrays = [table.steps, table.length, table.frame_length]
    key = statistics.content_key(source, slice(None), arrays, VERSION, int(gap_steps))
    file = Path(folder).expanduser() / "motion" / f"{source.episode_set.name}-{key}.npy"
    if file.is_file():
        return np.load(file)
    log.info("%s: how far frames %d steps apart differ is measured", source.name, gap_steps)
    found = _scores(source, int(gap_steps), threads)
    statistics.write(file, lambda stream: np.save(stream, found))
    return found


def allowed(table, places, pairs, scores, threshold):
    """Starts of the pairs that differ by at least `threshold` grey levels.

    pairs: int64 [E], how many of the first steps of each of the episodes `places` may be starts.
    Returns the steps that are left as starts, int32 [N], episode after episode, and how many each
    episode has left, int64 [E].
    """
    episode = np.repeat(np.arange(len(places)), pairs)
    start = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    keep = scores[table.first[places][episode] + start] >= threshold
    left = np.bincount(episode[keep], minlength=len(places))
    return start[keep].astype(np.int32), left.astype(np.int64)


def report(pairs, left, threshold):
    """One line of what `allowed` left out, of `pairs` int64 [E], when it left `left`."""
    total, dropped = int(pairs.sum()), int(pairs.sum() - left.sum())
    empty = int(((pairs > 0) & (left == 0)).sum())
    return (
        f"motion filter: {dropped:,} of {total:,} pairs ({100 * dropped / max(1, total):.1f} %) "
        f"below {threshold:.1f} grey levels dropped; {empty:,} episodes have none left"
    )


def _scores(source, gap, threads):
    first = source.table.first
    found, recent, begin = np.full(first[-1], np.nan, np.float32), None, 0

    def rows(numbers):
        episode = np.searchsorted(first, numbers, "right") - 1
        return episode, (numbers - first[episode])[:, None]

    for block_n1HW in thumbnails.of(source, int(first[-1]), rows, threads):
        new = block_n1HW[:, 0].astype(np.int16)
        recent = new if recent is None else np.concatenate([recent, new])  # from frame `begin` on
        start = begin + np.arange(max(0, len(recent) - gap))
        apart = np.abs(recent[gap:] - recent[:-gap]).mean(axis=(1, 2))
        same = np.searchsorted(first, start, "right") == np.searchsorted(
            first, start + gap, "right"
        )
        found[start[same]] = apart[same]
        begin, recent = begin + len(start), recent[len(start) :]
    return found
