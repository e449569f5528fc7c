"""Everything that changes during training, in one tree."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from lam.errors import UserError

ArrayTree = Any


@flax.struct.dataclass
class TrainState:
    """State of a run.

    Attributes:
      step: int32 scalar, optimizer steps taken.
      params: trained parameters, float32.
      extra: the task's own state (code counters and the like).
      opt_state: the optimizer's.
      ema: running average of params, or an empty dict.
      rng: key of the run; a step's key is `fold_in(rng, step)`.
    """

    step: jax.Array
    params: ArrayTree
    extra: ArrayTree
    opt_state: ArrayTree
    ema: ArrayTree
    rng: jax.Array


def create(params, extra, optimizer, rng, ema):
    """A state at step 0; `ema` > 0 keeps a running average of the parameters."""
    if not 0 <= ema < 1:
        raise UserError(f"config.ema={ema} must be at least 0 and below 1")
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        extra=extra,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else {},
        rng=rng,
    )


def advance(state, grads, extra, optimizer, post_step, ema):
    """One optimizer step, the task's own step after it, and the running average."""
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    post_rng = jax.random.fold_in(jax.random.fold_in(state.rng, state.step), 1)
    params, extra = post_step(params, extra, post_rng)
    average = optax.incremental_update(params, state.ema, 1 - ema) if ema else {}
    return state.replace(
        step=state.step + 1, params=params, extra=extra, opt_state=opt_state, ema=average
    )


def variables(state, frozen):
    """What predictions are made with: the running average of the parameters where there is one."""
    return {"params": state.ema or state.params, "frozen": frozen, "extra": state.extra}
