"""Checkpoints of a run: `workdir/checkpoints/<step>/{params,ema,train,data}` (orbax).

`params` (and `ema` where there is one) is what readers need; `train` holds the optimizer, counters,
key and step; `data` the loader's position and the statistics of actions and states. Saves are
asynchronous and atomic: an unfinished one is a temporary folder that nobody takes for a checkpoint.
"""

import contextlib
import errno
import os
import pathlib
import re

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from lam.errors import UserError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
# orbax writes from C++ threads, whose errors are text
FULL_TEXT = re.compile("no space left|file too large|quota exceeded", re.IGNORECASE)


def folder(workdir):
    return pathlib.Path(workdir).absolute() / "checkpoints"


@contextlib.contextmanager
def manager(workdir, best_mode="min"):
    """Keeps the last two checkpoints and the best two by the metric given at save.

    Raises:
      UserError: at the end of the `with`, where anything within could not be written for want of
        space; names the newest whole checkpoint.
    """
    if best_mode not in ("min", "max"):
        raise UserError(f"config.best_mode={best_mode} must be min or max")
    keep = policies.AnyPreservationPolicy(
        [
            policies.LatestN(2),
            policies.BestN(get_metric_fn=best_of, reverse=best_mode == "min", n=2),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep, best_fn=best_of, best_mode=best_mode
    )
    try:
        with ocp.CheckpointManager(folder(workdir), options=options) as ckpts:
            yield ckpts
    except Exception as error:
        reason = full_disk(error)
        if reason is None:
            raise
        raise UserError(
            f"{folder(workdir).parent} could not be written ({reason}); last good checkpoint: "
            f"{last_good(workdir)}; free some space and run again to go on"
        ) from None


def last_good(workdir):
    """The path of the newest finished checkpoint, or "none"."""
    known = steps(workdir)
    return str(folder(workdir) / str(known[-1])) if known else "none"


def full_disk(error):
    """What an exception, or one that led to it, says of a full disk or quota; None if nothing."""
    while error is not None:
        if getattr(error, "errno", None) in FULL:
            return os.strerror(error.errno)
        if found := FULL_TEXT.search(str(error)):
            return found[0]
        error = error.__cause__ or error.__context__
    return None


def best_of(metrics):
    return metrics["best"]


def save(ckpts, state, data_state, best):
    """Starts an asynchronous save of a state and of the loader's position."""
    items = {
        "params": ocp.args.StandardSave(state.params),
        "train": ocp.args.StandardSave(rest(state)),
        "data": ocp.args.JsonSave(data_state),
    }
    if state.ema:
        items["ema"] = ocp.args.StandardSave(state.ema)
    ckpts.save(int(state.step), args=ocp.args.Composite(**items), metrics={"best": float(best)})


def restore(ckpts, step, abstract):
    """State and loader position of a step; `abstract` is a TrainState of ShapeDtypeStructs.

    Raises:
      UserError: the parameters are not those of this model.
    """
    check_fit(ckpts.directory / str(step) / "params", abstract.params)
    items = {
        "params": ocp.args.StandardRestore(abstract.params),
        "train": ocp.args.StandardRestore(rest(abstract)),
        "data": ocp.args.JsonRestore(),
    }
    if abstract.ema:
        items["ema"] = ocp.args.StandardRestore(abstract.ema)
    found = ckpts.restore(step, args=ocp.args.Composite(**items))
    state = abstract.replace(params=found.params, ema=found.get("ema") or {}, **found.train)
    return state, found.data


def rest(state):
    return {name: getattr(state, name) for name in ("step", "extra", "opt_state", "rng")}


def check_fit(path, tree):
    """UserError unless the stored parameters have the names and shapes of `tree`."""
    stored, wanted = shapes(stored_tree(path)), shapes(tree)
    differ = [k for k in sorted(stored | wanted) if stored.get(k) != wanted.get(k)]
    if differ:
        there, here = (tree.get(differ[0], "absent") for tree in (stored, wanted))
        raise UserError(
            f"{path} is of another version of the model: {differ[0]} is {there} there, {here} here "
            f"({len(differ)} such); use the code of that run or give another --workdir"
        )


def shapes(tree):
    return {jax.tree_util.keystr(k): x.shape for k, x in jax.tree.leaves_with_path(tree)}


def steps(workdir):
    """Finished checkpoints of a run, oldest first."""
    path = folder(workdir)
    if not path.is_dir():
        return []
    return sorted(int(p.name) for p in path.iterdir() if p.name.isdigit())


def find(workdir, step=None):
    """A step (default the newest) that has a finished checkpoint; UserError if there is none."""
    known = steps(workdir)
    if not known:
        raise UserError(f"No checkpoint under {folder(workdir)}: train first, or give the workdir")
    if step is not None and step not in known:
        raise UserError(f"No checkpoint of step {step} under {folder(workdir)}; there are {known}")
    return known[-1] if step is None else step


def load_params(workdir, step=None):
    """Parameters of a step (default the newest), the running average where there is one.

    Returns:
      (step, tree of arrays on the default device).
    """
    step = find(workdir, step)
    item = "ema" if (folder(workdir) / str(step) / "ema").is_dir() else "params"
    return step, load_item(workdir, step, item)


def load_item(workdir, step, item):
    """One item of a checkpoint ("params", "ema" or "train"), arrays on the default device."""
    path = folder(workdir) / str(step) / item
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), stored_tree(path)
    )
    with ocp.StandardCheckpointer() as reader:
        return reader.restore(path, abstract)


def stored_tree(path):
    """Names, shapes and dtypes of one item of a checkpoint, as a tree of dicts."""
    with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
        return dict(handler.metadata(path))
