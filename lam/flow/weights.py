"""Files of RAFT weights: .safetensors with the names of our tree, as `lam.convert` writes them."""

import os
import pathlib

import jax
import numpy as np
import safetensors
from safetensors.numpy import save_file

from lam.errors import UserError
from lam.models.raft import SIZES, shapes, size_of
from lam.models.weights import check, flatten, nest

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
    try:
        with safetensors.safe_open(path, "numpy") as file:
            flat, about = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is no .safetensors file, or it is cut off: {error}") from None
    if not any(name.startswith("params/") for name in flat):
        raise UserError(f"{path} has other names: run python -m lam.convert raft {path} NEW")
    size = size_of(nest(flat)["params"])
    check(flat, flatten(shapes(size)), f"{path} as raft_{size}")
    kind = {"f": np.float32, "i": np.int32}
    flat = {name: x.astype(kind.get(x.dtype.kind, np.float32)) for name, x in flat.items()}
    return size, nest(flat), about or {}


def save(path, variables, size, dtype="float16", about=None):
    """Writes weights as `load` reads them, fractions as `dtype`; `about`: {text: text}."""
    if size not in SIZES:
        raise UserError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    flat = flatten(jax.device_get(variables))
    flat = {k: x if x.dtype.kind == "i" else x.astype(dtype) for k, x in flat.items()}
    part = f"{path}.part"
    save_file(flat, part, {"model": f"raft_{size}", **(about or {})})
    os.replace(part, path)
