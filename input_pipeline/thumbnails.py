"""Small grey pictures of a set's frames, for what compares frames instead of learning from them.

n rows, T frames of a row, H W = SIDE pixels.
"""

import contextlib
import logging
import os
import time
import types

import numpy as np

from input_pipeline import random_access

SIDE = 32
ROWS = 256  # read together
GREY = np.array([77, 150, 29], np.uint16)  # red, green and blue in 256 parts of a grey level
log = logging.getLogger(__name__)


def of(source, count, rows, threads):
    """Pictures of `count` rows of a source, by random access: yields uint8 [n,T,H,W], in order.

    rows(numbers int64 [n]) -> episode int64 [n] (places in the source's table), times int64 [n,T].
    threads: 0 for one a core, at most 16. DataError names the frame that cannot be read.
    """
    blocks = -(-count // ROWS)
    threads = threads or min(16, os.cpu_count() or 1)
    layout = types.SimpleNamespace(image_size=SIDE, threads=threads)

    def rows_of(block):  # empty after the last one, where the reader reads ahead
        numbers = np.arange(min(count, block * ROWS), min(count, (block + 1) * ROWS))
        episode, times_nT = rows(numbers)
        return {"source": np.zeros_like(numbers), "episode": episode, "times": times_nT}

    said = time.monotonic()
    with contextlib.closing(random_access.batches([source], rows_of, layout, 0)) as batches:
        for block in range(blocks):
            yield grey(next(batches))
            if time.monotonic() - said > 2:
                said = time.monotonic()
                done = 100 * (block + 1) / blocks
                log.info("%s: %.0f %% of %d small pictures read", source.name, done, count)


def grey(frames):
    """RGB uint8 [...,3] -> grey levels uint8 [...]."""
    red, green, blue = np.moveaxis(frames.astype(np.uint16), -1, 0) * GREY.reshape(
        3, *[1] * (frames.ndim - 1)
    )
    return ((red + green + blue) >> 8).astype(np.uint8)
