"""Weights for tests of RAFT: all random, none at its start value, small enough for sane flow."""

import functools
import sys
import types

import jax
import numpy as np
from PIL import Image

from lam.convert import files
from lam.convert import raft as convert
from lam.models import weights
from lam.models.raft import shapes


def random_weights(size, seed=0):
    """Variables as numpy; also those that start at zero or one are random."""
    rng = np.random.default_rng(seed)
    flat = {}
    for name, leaf in weights.flatten(shapes(size)).items():
        if name.endswith("count"):
            flat[name] = np.array(7, np.int32)
        elif name.endswith(("var", "scale")):
            flat[name] = rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        else:
            spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) == 4 else 0.1
            flat[name] = (spread * rng.normal(size=leaf.shape)).astype(np.float32)
    return weights.nest(flat)


def random_frames(*shape, seed=1):
    """Two smooth random frames, float32 in [0,1], the second one moved by (2, 1) pixels."""
    rng = np.random.default_rng(seed)
    batch, height, width, _ = shape
    coarse = rng.uniform(size=(batch, height // 4 + 2, width // 4 + 2, 3))
    fine = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2).astype(np.float32)
    return fine[:, 1 : height + 1, 2 : width + 2], fine[:, :height, :width]


@functools.cache
def supplied_weights(path):
    """Variables of a supplied file of torchvision's names, float32."""
    tree = convert.to_tree(files.read(path))[2]
    return jax.tree.map(lambda x: np.asarray(x, np.float32), tree)


def pair(folder, name):
    """The two supplied frames of a name, uint8 [1,H,W,3] each."""
    paths = [folder / f"pair_{name}_{i}.png" for i in (1, 2)]
    return [np.array(Image.open(path).convert("RGB"))[None] for path in paths]


def make_torchvision_importable():
    """Next to a CPU build of torch, torchvision only comes up with this module left empty."""
    name = "torchvision._meta_registrations"
    sys.modules.setdefault(name, types.ModuleType(name))
