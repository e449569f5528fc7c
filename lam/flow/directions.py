"""What moves where to between two frames, as one vector.

N pairs, H W pixels.
"""

import jax
import numpy as np

from lam.flow import load
from lam.flow.estimator import at_once
from lam.ops import motion
from lam.ops.image import to_float

UPDATES = 6  # of the flow; at 64x64 twelve tell directions no better
CLEAR = 1.0  # pixels, shorter vectors are mostly error
COHERENT = 0.5  # less and no single vector tells the motion


class Directions:
    """The vector that stands for the motion of a pair, by the shipped teacher.

    It is the mean of the flow, less its median for cameras that shift, weighted by its length: the
    hand and what it carries count, however small. On tabletop, with exact flow, it is nearer to the
    command than the other summaries of `lam.ops.motion`.
    """

    def __init__(self):
        self._estimate = load()
        self._summary = jax.jit(lambda flow: motion.summary(flow)["median"])

    def __call__(self, first, second):
        """The motion of pairs of frames [N,H,W,3], uint8 or float in [0,1].

        N is at least 1.

        Returns:
          {"vector": float32 [N,2], pixels, x right, y down, "moves": bool [N], whether anything
          does, "clear": bool [N], whether the vector is long and the motion of one direction}.
        """
        total, size = len(first), at_once(*first.shape[1:3])
        parts = []
        for begin in range(0, total, size):  # all of one size and kind: RAFT is slow to compile
            rows = np.arange(begin, begin + size) % total
            flow = self._estimate(*(_float(x[rows]) for x in (first, second)), UPDATES)
            parts.append(self._summary(flow))
        found = {
            key: np.concatenate([np.asarray(part[key]) for part in parts])[:total]
            for key in ("weighted", "is_static", "coherence")
        }
        vector, moves = found["weighted"], ~found["is_static"]
        far = np.linalg.norm(vector, axis=-1) > CLEAR
        return {
            "vector": vector,
            "moves": moves,
            "clear": moves & far & (found["coherence"] > COHERENT),
        }


def angles(one, other):
    """Angle between vectors [..., 2] in degrees, 0..180; 90 where one is zero: it says nothing."""
    dots = np.sum(one * other, axis=-1)
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    cosine = np.where(lengths > 0, dots, 0) / np.where(lengths > 0, lengths, 1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _float(frames):
    return to_float(frames) if frames.dtype == np.uint8 else frames
