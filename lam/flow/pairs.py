"""Pairs of frames in order, and those of videos and of folders of pictures.

Frames keep their size and are decoded in sequence: once to count them, so that damage is found
before hours of work, and once more for the pairs, with no more than a gap of them in memory.
N pairs, H W pixels.
"""

import collections
import itertools
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from input_pipeline import encode, options, ordered
from input_pipeline.errors import DataError
from lam import progress
from lam.errors import UserError

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Pairs of one size, in order."""

    frames: np.ndarray  # uint8 [N,2,H,W,3], RGB
    episode: list  # N texts: path below SOURCE, or "dataset/episode"
    step: np.ndarray  # int32 [N], number of frame 1 in its episode
    gap: np.ndarray  # int32 [N], steps from frame 1 to frame 2
    seconds: np.ndarray  # float32 [N], the same in seconds, NaN where the rate is not known


class Pairs(NamedTuple):
    """total: number of pairs; batches: an iterable of Batch, all of them once."""

    total: int
    batches: Iterable


class Clip(NamedTuple):
    """A readable video or folder of pictures: its name, frames, and the pairs' gap in frames, s."""

    path: Path
    name: str
    frames: int
    gap: int
    seconds: float


def of_clips(clips, limit, at_once):
    """The Pairs of clips: `limit` spread evenly over all, 0 for all; batches of at_once(H, W)."""
    counts = np.array([clip.frames - clip.gap for clip in clips])
    ends, everything = np.cumsum(counts), int(counts.sum())
    total = min(limit or everything, everything)
    chosen = ordered.spread(np.arange(total), total, everything)
    parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    places = zip(clips, parts, ends - counts, strict=True)
    wanted = [(clip, part - begin) for clip, part, begin in places if len(part)]
    pairs = itertools.chain.from_iterable(itertools.starmap(_pairs, wanted))
    return Pairs(total, _batches(pairs, at_once))


def readable(root, episodes, data):
    """The Clips of what `clips.find` found that are longer than the gap.

    Args:
      data: the options gap, gap_seconds, gap_jitter (0), hz ("" or one number) and on_corrupt.

    Raises:
      DataError, UserError: there are none, or one cannot be read and on_corrupt is "error".
    """
    found = []
    with progress.working(f"reading {len(episodes)} videos, to count their frames"):
        for episode in episodes:
            try:
                found.append(_clip(root, episode, data))
            except DataError as error:
                if data["on_corrupt"] == "error":
                    raise
                log.warning("left out: %s", error)
    if not found:
        raise DataError(f"{root}: none of its {len(episodes)} videos can be read")
    long = [clip for clip in found if clip.frames > clip.gap]
    if not long:
        best = max(found, key=lambda clip: clip.frames - clip.gap)
        raise DataError(
            f"{best.path}: no two of its {best.frames} frames are {best.gap} apart; set a smaller "
            "--gap, or give longer videos"
        )
    if len(long) < len(found):
        log.warning("%d of %d videos are too short for a pair", len(found) - len(long), len(found))
    return long


def _clip(root, episode, data):
    """The Clip of an episode of `clips.find`; DataError unless every frame of it can be read."""
    path, pictures = root / episode["path"], episode["pictures"]
    rate = _rate(data["hz"]) or (math.nan if pictures else encode.rate(path)[0])
    gap, _ = options.gap(data, rate, str(path))
    sizes = collections.Counter(frame.shape[:2] for frame in _frames(path))
    if len(sizes) > 1:
        different = " and ".join(f"{height} x {width}" for height, width in list(sizes)[:2])
        raise encode.unreadable(path, f"frames of {different} pixels")
    return Clip(path, episode["path"], sizes.total(), gap, gap / rate)


def _rate(hz):
    """The frequency that was given, in Hz, None for none; UserError."""
    try:
        rate = float(hz or 0)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf or (hz and not rate):
        raise UserError(f"--hz={hz} is no frequency; give Hz, above 0")
    return rate or None


def _frames(path):
    """Yields the frames of a video, or of the pictures of a folder, uint8 [H,W,3]."""
    if not path.is_dir():
        yield from encode.frames(path)
        return
    for name in encode.pictures(path):
        yield from encode.frames(path / name)  # a picture is a video of one frame


def _pairs(clip, steps):
    """Yields (clip, step, frame 1, frame 2) of ascending `steps`; decodes up to the last one."""
    before, wanted = collections.deque(maxlen=clip.gap), collections.deque(steps.tolist())
    for number, frame in enumerate(_frames(clip.path)):
        if number - clip.gap == wanted[0]:
            yield clip, wanted.popleft(), before[0], frame
        if not wanted:
            return
        before.append(frame)


def _batches(pairs, at_once):
    """Batches of neighbours of one size."""
    for shape, group in itertools.groupby(pairs, key=lambda pair: pair[2].shape):
        while rows := list(itertools.islice(group, at_once(*shape[:2]))):
            found, steps, first, second = zip(*rows, strict=True)
            yield Batch(
                np.stack([np.stack(first), np.stack(second)], axis=1),
                [clip.name for clip in found],
                np.array(steps, np.int32),
                np.array([clip.gap for clip in found], np.int32),
                np.array([clip.seconds for clip in found], np.float32),
            )
