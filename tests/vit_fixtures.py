"""Towers for tests: tiny specs of every family and random weights, none at its start value."""

import dataclasses

import numpy as np

from lam import tower
from lam.convert import files
from lam.models import vit, weights
from lam.models.vit_specs import Spec

DINOV2 = Spec("dinov2", 24, 2, 3, 96, 4, 3)
DINOV3 = Spec(
    "dinov3", 24, 2, 3, 40, 4, registers=4, epsilon=1e-5, biases=(True, False, True),
)  # fmt: skip
SIGLIP = Spec("siglip", 24, 2, 3, 40, 4, 3, activation="gelu_tanh")
TINY = {
    "dinov2": DINOV2,
    "dinov2_registers": dataclasses.replace(DINOV2, registers=4, resampling="cubic_antialias"),
    "dinov2_swiglu": dataclasses.replace(DINOV2, hidden=64, gated=True, activation="silu"),
    "dinov3": DINOV3,
    "dinov3_plain": dataclasses.replace(DINOV3, registers=0, biases=(False, False, False)),
    "dinov3_gated": dataclasses.replace(DINOV3, gated=True, activation="silu"),
    "siglip": SIGLIP,
    "siglip2": dataclasses.replace(SIGLIP, family="siglip2", resampling="linear_antialias"),
}


def random_weights(spec, seed=0):
    """Variables as numpy; gains around 1, all else around 0."""
    rng = np.random.default_rng(seed)
    flat = {
        name: rng.normal(name.endswith("scale"), 0.2, x.shape).astype(np.float32)
        for name, x in weights.flatten(vit.shapes(spec)).items()
    }
    return weights.nest(flat)


def write_tower(path, spec, seed=0):
    """Writes a file of random weights as `lam.tower` reads it."""
    files.write(path, weights.flatten(random_weights(spec, seed)), tower.texts(spec))
    return path
