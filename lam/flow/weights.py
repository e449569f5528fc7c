"""Files of RAFT weights: .safetensors with the names of our tree, as `lam.convert` writes them."""

import os
import pathlib

import jax
import numpy as np

from lam.errors import UserError
from lam.models import weights
from lam.models.raft import SIZES, shapes, size_of

TEACHER = pathlib.Path(__file__).parent / "raft_teacher.safetensors"
PUBLISHED = {
    "raft_small": "raft_small_C_T_V2-01064c6d.pth",
    "raft_large": "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
}
ADDRESS = "https://download.pytorch.org/models"
FOLDER = pathlib.Path("~/.cache/lam/weights")  # where converted published weights are looked for


def find(name):
    """Path of the weights; UserError if there are none."""
    name = os.fspath(name)
    path = TEACHER if name == "shipped" else pathlib.Path(name)
    if name in PUBLISHED:
        path = FOLDER.expanduser() / f"{name}.safetensors"
    if path.is_file():
        if path.suffix != ".safetensors":
            raise UserError(f"{path}: first run python -m lam.convert raft {path} NEW.safetensors")
        return path
    if name == "shipped":
        raise UserError(f"the shipped weights are not there ({path}): name a file of your own")
    if name in PUBLISHED:
        raise UserError(
            f"no weights of {name} on this machine: get {ADDRESS}/{PUBLISHED[name]} and run "
            f"python -m lam.convert raft {PUBLISHED[name]} {path}"
        )
    raise UserError(
        f"there is no file {path}; or one of the names: shipped, {', '.join(PUBLISHED)}"
    )


def read(path):
    """(size, variables as numpy, texts) of a file of ours; strict. UserError."""
    flat, about = weights.read(path)
    if not any(name.startswith("params/") for name in flat):
        raise UserError(f"{path} has other names: run python -m lam.convert raft {path} NEW")
    size = size_of(weights.nest(flat)["params"])
    weights.check(flat, weights.flatten(shapes(size)), f"{path} as raft_{size}")
    kind = {"f": np.float32, "i": np.int32}
    flat = {name: x.astype(kind.get(x.dtype.kind, np.float32)) for name, x in flat.items()}
    return size, weights.nest(flat), about


def save(path, variables, size, dtype="float16", about=None):
    """Writes weights as `load` reads them, fractions as `dtype`; `about`: {text: text}."""
    if size not in SIZES:
        raise UserError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    flat = weights.flatten(jax.device_get(variables))
    flat = {k: x if x.dtype.kind == "i" else x.astype(dtype) for k, x in flat.items()}
    weights.write(path, flat, {"model": f"raft_{size}", **(about or {})})
