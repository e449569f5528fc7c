"""Trees of weights as flat tables {"params/encoder/kernel": array}, their files, and what a file
must hold."""

import contextlib
import os

import jax
import numpy as np
import safetensors
from safetensors.numpy import save_file

from lam.errors import UserError

SHOWN = 4  # names of a complaint that are written out


def flatten(tree):
    """{path with slashes: numpy array, or shape where the tree holds those}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    keys = ((jax.tree_util.keystr(path, simple=True, separator="/"), x) for path, x in leaves)
    return {key: x if isinstance(x, jax.ShapeDtypeStruct) else np.asarray(x) for key, x in keys}


def nest(flat):
    """The tree of plain dicts that `flatten` took apart."""
    tree = {}
    for path, value in flat.items():
        *folders, name = path.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[name] = value
    return tree


def read(path):
    """({name: numpy array}, {text: text}) of a .safetensors file, in its order; UserError."""
    with opened(path) as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def read_texts(path):
    """{text: text} of a .safetensors file, whose arrays are not read; UserError."""
    with opened(path) as file:
        return file.metadata() or {}


@contextlib.contextmanager
def opened(path):
    try:
        with safetensors.safe_open(path, "numpy") as file:
            yield file
    except (safetensors.SafetensorError, FileNotFoundError) as error:
        raise UserError(f"{path} is no .safetensors file, or it is cut off: {error}") from None


def write(path, flat, about=None):
    """Writes {name: array} with `about` {text: text} as .safetensors, whole or not at all."""
    part = f"{path}.part"
    save_file({name: np.array(x, order="C") for name, x in flat.items()}, part, about)
    os.replace(part, path)


def check(found, expected, source):
    """UserError, in one line, unless both {name: array or shape} have the same names and shapes."""
    wrong = [
        f"{name} {list(found[name].shape)} for {list(x.shape)}"
        for name, x in expected.items()
        if name in found and tuple(found[name].shape) != tuple(x.shape)
    ]
    kinds = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "of another shape": wrong,
    }
    parts = [f"{len(names)} {kind}: {shorten(names)}" for kind, names in kinds.items() if names]
    if parts:
        raise UserError(f"{source} does not fit, of {len(expected)} names {'; '.join(parts)}")


def shorten(names):
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
