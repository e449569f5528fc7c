"""The debug run that the tests of the loop share: one program, so that it compiles only once."""

import json
import sys

import jax
import numpy as np
import orbax.checkpoint as ocp
from pipeline_fixtures import CACHE

from configs import laq
from lam import checkpoint

# the constant schedule keeps `total_steps` out of the compiled program
CHANGES = {
    "data.gap": 2,
    "data.data_dir": CACHE.name,
    "checkpoint_every": 0,
    "optim.schedule": "constant",
    "optim.lr": 3e-3,
    **{f"evals.{name}.type": "" for name in laq.get_config("debug").evals},
}


def config_of(source, **changes):
    """The debug config on a data set, without evaluators; changes as {"optim.lr": 1e-3}."""
    config = laq.get_config("debug")
    config.update_from_flattened_dict(CHANGES | {"data.sources": str(source)} | changes)
    return config


def command(source, folder, *more, **changes):
    """The command line of the same run."""
    changes = CHANGES | {"data.sources": str(source)} | changes
    options = [f"--config.{name}={value}" for name, value in changes.items()]
    start = [sys.executable, "-m", "lam.main", "--config=configs/laq.py:debug"]
    return [*start, f"--workdir={folder}", *options, *more]


def leaves(folder, step):
    """Everything a checkpoint holds, as {path: array}."""
    found = {}
    for item in ("params", "train"):
        path = checkpoint.folder(folder) / str(step) / item
        with ocp.StandardCheckpointer() as reader:
            tree = reader.restore(path, jax.tree.map(on_one_device, checkpoint.stored_tree(path)))
        for key, leaf in jax.tree.leaves_with_path(tree):
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)
            found[item + jax.tree_util.keystr(key)] = np.asarray(leaf)
    return found


def on_one_device(x):
    """What to restore: the same array, whatever mesh it was saved on."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def lines(folder):
    """The rows of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
