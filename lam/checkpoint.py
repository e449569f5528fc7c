"""Checkpoints of a run: `workdir/checkpoints/<step>/{params,ema,train,data}` (orbax).

`params` (and `ema` where there is one) is what readers need; `train` holds the optimizer, counters,
key and step; `data` the loader's position. Saves are asynchronous and atomic: an unfinished one
is a temporary folder that nobody takes for a checkpoint.
"""

import pathlib

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from lam.errors import UserError


def folder(workdir):
    return pathlib.Path(workdir).absolute() / "checkpoints"


def manager(workdir, best_mode="min"):
    """Keeps the last two checkpoints and the best two by the metric given at save."""
    keep = policies.AnyPreservationPolicy(
        [
            policies.LatestN(2),
            policies.BestN(get_metric_fn=best_of, reverse=best_mode == "min", n=2),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep, best_fn=best_of, best_mode=best_mode
    )
    return ocp.CheckpointManager(folder(workdir), options=options)


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
    """State and loader position of a step; `abstract` is a TrainState of ShapeDtypeStructs."""
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


def steps(workdir):
    """Finished checkpoints of a run, oldest first."""
    path = folder(workdir)
    if not path.is_dir():
        return []
    return sorted(int(p.name) for p in path.iterdir() if p.name.isdigit())


def load_params(workdir, step=None):
    """Parameters of a step (default the newest), the running average where there is one.

    Returns:
      (step, tree of arrays on the default device).
    """
    known = steps(workdir)
    if not known:
        raise UserError(f"No checkpoint under {folder(workdir)}: train first, or give the workdir")
    if step is None:
        step = known[-1]
    if step not in known:
        raise UserError(f"No checkpoint of step {step} under {folder(workdir)}; there are {known}")
    path = folder(workdir) / str(step)
    item = "ema" if (path / "ema").is_dir() else "params"
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    with ocp.StandardCheckpointer() as reader:
        shapes = reader.metadata(path / item).item_metadata
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), dict(shapes)
        )
        return step, reader.restore(path / item, abstract)
