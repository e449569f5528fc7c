"""The mesh, and how arrays lie on it.

Axes: `data` and `fsdp` split the batch, `fsdp` also splits parameters and optimizer state, `tensor`
splits the wide dimensions of a layer.
"""

import re

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from lam.errors import UserError

AXES = ("data", "fsdp", "tensor")
BATCH = P(("data", "fsdp"))


def connect(coordinator, processes, number):
    """Joins the processes of a run; in a cluster that jax knows, all three may be None."""
    try:
        jax.distributed.initialize(coordinator, processes, number)
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise UserError(
            f"the processes of the run could not be joined ({text}): outside a cluster give each "
            "--coordinator=HOST:PORT (of process 0), --processes=N and --process=0..N-1"
        ) from None


def make_mesh(sizes):
    """Mesh of all devices from {"data": n, "fsdp": n, "tensor": n}; one of them may be -1."""
    shape = [int(sizes[axis]) for axis in AXES]
    devices = jax.device_count()
    text = " x ".join(f"{axis}={n}" for axis, n in zip(AXES, shape, strict=True))
    if shape.count(-1) > 1 or any(n < 1 and n != -1 for n in shape):
        raise UserError(f"mesh {text}: every size must be at least 1, and one may be -1 (the rest)")
    known = int(np.prod([n for n in shape if n != -1]))
    shape = [devices // known if n == -1 else n for n in shape]
    if int(np.prod(shape)) != devices:
        raise UserError(
            f"mesh {text} needs a multiple of {known} devices, but there are {devices}: "
            "set config.mesh.data, .fsdp and .tensor so that their product is that number"
        )
    return jax.make_mesh(tuple(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_batch(mesh, batch_size, grad_accum):
    """The number of batch shards; UserError if the batch cannot be split evenly."""
    if batch_size < 1 or grad_accum < 1:
        raise UserError(
            f"config.batch_size={batch_size} and config.grad_accum={grad_accum} must be at least 1"
        )
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % (shards * grad_accum):
        raise UserError(
            f"batch_size {batch_size} is not divisible by data*fsdp = {shards} shards times "
            f"grad_accum = {grad_accum}: use a multiple of {shards * grad_accum}"
        )
    return shards


def spec_of(path, shape, mesh, rules):
    """PartitionSpec of one parameter: the first rule that matches, dropping axes that don't fit.

    A spec is of the last axes: before them lies that of scanned layers, if any.
    """
    for pattern, spec in rules:
        if re.search(pattern, path) and len(spec) <= len(shape):
            axes = [
                axis if axis and size % mesh.shape[axis] == 0 else None
                for axis, size in zip(spec, shape[len(shape) - len(spec) :], strict=True)
            ]
            return P(*[None] * (len(shape) - len(spec)), *axes)
    return P()


def path_text(path):
    """A tree path as text: ('a', 0, 'b') -> "a/0/b"."""
    return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)


def tree_shardings(tree, mesh, rules):
    """NamedSharding of every leaf of a (shape) tree, optimizer state included, by its path."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: NamedSharding(mesh, spec_of(path_text(path), x.shape, mesh, rules)), tree
    )


def put_local(batch, mesh):
    """Global arrays from each process's own rows of the batch."""
    sharding = NamedSharding(mesh, BATCH)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def put_whole(batch, mesh):
    """Global arrays from numpy arrays that every process has whole; split over the batch axis."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]

    def put(x):
        spec = BATCH if len(x) % shards == 0 else P()
        return jax.make_array_from_callback(x.shape, NamedSharding(mesh, spec), lambda i: x[i])

    return jax.tree.map(put, batch)


def place(tree, mesh, rules):
    """Numpy arrays that every process has whole, as arrays that lie on the mesh by the rules."""
    return jax.tree.map(
        lambda x, s: jax.make_array_from_callback(x.shape, s, lambda i: x[i]),
        tree,
        tree_shardings(tree, mesh, rules),
    )
