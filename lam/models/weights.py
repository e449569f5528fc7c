"""Trees of weights as flat tables {"params/encoder/kernel": array}, and what a file must hold."""

import jax
import numpy as np

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
