"""Files of named arrays: .safetensors, .npz, .pth, .pt; the last two need torch, nothing else."""

import hashlib
import os
import pathlib

import numpy as np

from lam.errors import UserError
from lam.models import weights

SUFFIXES = (".safetensors", ".npz", ".pth", ".pt")


def check_suffix(path):
    """The suffix; UserError unless it is one of SUFFIXES."""
    suffix = pathlib.Path(path).suffix
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: a name must end in one of {', '.join(SUFFIXES)}")
    return suffix


def read(path):
    """{name: numpy array} of a file, in its order; UserError in one line if it cannot be read."""
    suffix = check_suffix(path)
    if not os.path.isfile(path):
        raise UserError(f"{path}: there is no such file")
    reader = {".safetensors": read_safetensors, ".npz": read_npz}.get(suffix, read_torch)
    try:
        return reader(path)
    except UserError:
        raise
    except Exception as error:  # each library has its own kinds for a broken file
        told = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} is no {suffix} file, or it is cut off or broken: {told}") from None


def read_safetensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def read_npz(path):
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def read_torch(path):
    """A state dict of tensors, read without running any code of the file."""
    state = import_torch(path).load(path, map_location="cpu", weights_only=True)
    if not hasattr(state, "items") or not all(hasattr(x, "numpy") for x in state.values()):
        raise UserError(f"{path} holds no state dict of tensors, but {type(state).__name__}")
    return {name: x.numpy() for name, x in state.items()}


def write(path, arrays, about=None):
    """Writes {name: array}, whole or not at all; `about` {text: text} goes into .safetensors."""
    suffix, part = check_suffix(path), f"{path}.part"
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if suffix == ".safetensors":
        weights.write(path, arrays, about)
        return
    if suffix == ".npz":
        with open(part, "wb") as file:
            np.savez(file, **arrays)
    else:
        torch = import_torch(path)
        torch.save({name: torch.from_numpy(np.array(x)) for name, x in arrays.items()}, part)
    os.replace(part, path)


def import_torch(path):
    try:
        import torch
    except ImportError:
        raise UserError(f"{path}: .pth files need torch (pip install torch)") from None
    return torch


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
