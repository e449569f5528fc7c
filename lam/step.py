"""The pure training step, the first state, and their compiled forms."""

import functools
import logging
import math

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from lam import progress, sharding
from lam import state as state_lib

log = logging.getLogger(__name__)


def train_step(task, optimizer, schedule, ema, grad_accum, state, frozen, batch):
    """One optimizer step, pure: (state, metrics). A step that is not finite changes nothing."""
    rng = jax.random.fold_in(state.rng, state.step)
    loss_and_grads = jax.value_and_grad(task.loss, has_aux=True)

    def micro_step(carry, micro):
        total, extra, i = carry
        (loss, (extra, scalars)), grads = loss_and_grads(
            state.params, frozen, extra, micro, jax.random.fold_in(rng, i)
        )
        return (jax.tree.map(jnp.add, total, grads), extra, i + 1), {"loss": loss, **scalars}

    carry = (jax.tree.map(jnp.zeros_like, state.params), state.extra, jnp.zeros((), jnp.int32))
    if grad_accum == 1:  # no loop: XLA on a CPU computes a loop's convolutions three times slower
        (grads, extra, _), scalars = micro_step(carry, batch)
    else:
        (grads, extra, _), scalars = jax.lax.scan(
            micro_step, carry, micro_batches(batch, grad_accum)
        )
    grads, scalars = jax.tree.map(lambda g: g / grad_accum, grads), jax.tree.map(jnp.mean, scalars)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(scalars["loss"]) & jnp.isfinite(grad_norm)
    new = state_lib.advance(state, grads, extra, optimizer, task.post_step, ema)
    new = jax.tree.map(functools.partial(jnp.where, finite), new, state)
    measured = {"grad_norm": grad_norm, "learning_rate": schedule(state.step), "finite": finite}
    return new, scalars | measured


def micro_batches(batch, count):
    """[B,...] -> [count,B/count,...]; rows are dealt in turn, so every device keeps its own."""
    return jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)


def initialiser(config, task, optimizer, mesh, batch, frozen=None):
    """How the run begins; batch, frozen: arrays on the mesh, or shapes where nothing is created.

    Returns:
      create: seed (default the run's) -> TrainState, compiled once, laid out on the mesh.
      shapes: the same as ShapeDtypeStructs with shardings.
    """

    def create(rng, batch, frozen):
        init_rng, run_rng = jax.random.split(rng)
        first = jax.tree.map(lambda x: x[0], micro_batches(batch, config.grad_accum))
        params, extra = task.init(init_rng, first, frozen)
        return state_lib.create(params, extra, optimizer, run_rng, config.ema)

    shapes = jax.eval_shape(create, jax.random.key(config.seed), batch, frozen)
    shardings = sharding.tree_shardings(shapes, mesh, task.sharding)
    shapes = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )
    jitted = jax.jit(create, out_shardings=shardings)
    return lambda seed=config.seed: jitted(jax.random.key(seed), batch, frozen), shapes


def compile_step(config, task, optimizer, schedule, mesh, shapes, frozen, batch):
    """The compiled step (state, frozen, batch) -> (state, metrics), and the FLOPs of one step.

    shapes: of the state, see `initialiser`; frozen, batch: arrays on the mesh.
    """
    pure = functools.partial(train_step, task, optimizer, schedule, config.ema, config.grad_accum)
    layout, fixed = jax.tree.map(lambda x: x.sharding, (shapes, frozen))
    jitted = jax.jit(
        pure,
        in_shardings=(layout, fixed, NamedSharding(mesh, sharding.BATCH)),
        out_shardings=(layout, NamedSharding(mesh, P())),
        donate_argnums=0,
    )
    with progress.working("compiling the train step"):
        compiled = jitted.lower(shapes, frozen, batch).compile()
    log.info("memory per device: %s", memory(compiled))
    # the compiler counts one device's share, and a loop's body once
    flops = compiled.cost_analysis().get("flops", math.nan)
    return compiled, flops * jax.device_count() * config.grad_accum


def memory(compiled):
    """What a compiled step needs on one device, as text: what it is given, and what it adds."""
    sizes = compiled.memory_analysis()
    given = sizes.argument_size_in_bytes
    added = sizes.temp_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return f"{size(given + added)} ({size(given)} state and batch, {size(added)} for the step)"


def size(count):
    """Bytes as text."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
