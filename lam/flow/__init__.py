"""Optical flow of pairs of frames, by RAFT.

>>> from lam import flow
>>> estimator = flow.load()  # the teacher that is shipped with this package
>>> flow_NHW2 = estimator(first, second)  # uint8 [N,H,W,3], RGB

N pairs, H W pixels. Flow is (dx, dy) in pixels, x right, y down, from frame 1 to frame 2, at the
pixels of frame 1. `python -m lam.flow` writes the flow of videos and data sets.
"""

from lam.errors import UserError
from lam.flow import weights
from lam.flow.estimator import Confident, Estimator

__all__ = ["Confident", "Estimator", "load"]


def load(name="shipped", dtype="float32"):
    """An Estimator with the weights of a file.

    Args:
      name: "shipped" for the teacher that comes with this package; a path that ends in
        .safetensors; "raft_small" or "raft_large" for published weights, converted to
        ~/.cache/lam/weights/NAME.safetensors.
      dtype: of the updates. "bfloat16" is faster on accelerators and off by some 0.02 px.

    Raises:
      UserError: there is no such file, or it holds something else; one line that says what to do.
    """
    path = weights.find(name)
    size, variables, about = weights.read(path)
    if name in weights.PUBLISHED and name != f"raft_{size}":
        raise UserError(f"{path} holds a raft_{size}: convert the file of {name} to this place")
    return Estimator(size, variables, dtype, about)
