"""What rename tables of all models share.

A table has a row for each kind of module: a pattern that our path must match, and its name in each
family of files, with the groups of the pattern put in.
"""

import re

import jax

LEAVES = {
    "kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean",
    "var": "running_var", "count": "num_batches_tracked",
}  # fmt: skip


def compiled(rows):
    """((pattern, name, name, ...), ...) with the patterns compiled."""
    return tuple((re.compile(ours), *names) for ours, *names in rows)


def rename(table, module, column):
    """The name of a module of ours in one column of a table."""
    pattern, *names = next(row for row in table if row[0].fullmatch(module))
    return pattern.fullmatch(module).expand(names[column])


def cast(tree, dtype):
    """All numbers with a fraction as `dtype`; "" keeps them."""
    if not dtype:
        return tree
    return jax.tree.map(lambda x: x if x.dtype.kind == "i" else x.astype(dtype), tree)
