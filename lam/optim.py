"""The optax chain of `config.optim`."""

import jax
import optax

from lam.errors import UserError
from lam.registry import suggest


def constant(c, total_steps):
    del total_steps
    start = 0.0 if c.warmup_steps else c.lr  # without steps to go optax stays at the start
    return optax.warmup_constant_schedule(start, c.lr, c.warmup_steps)


def cosine(c, total_steps):
    return optax.warmup_cosine_decay_schedule(
        0.0, c.lr, c.warmup_steps, max(total_steps, c.warmup_steps + 1), c.lr * c.final_fraction
    )


def wsd(c, total_steps):
    """Warm-up, stable, linear decay over the last `decay_fraction` of the steps."""
    decay_steps = max(1, round(c.decay_fraction * total_steps))
    decay = optax.linear_schedule(c.lr, c.lr * c.final_fraction, decay_steps)
    start = max(total_steps - decay_steps, c.warmup_steps)
    return optax.join_schedules([constant(c, total_steps), decay], [start])


SCHEDULES = {"constant": constant, "cosine": cosine, "wsd": wsd}
OPTIMIZERS = ("adam", "adamw")


def schedule(c, total_steps):
    """Learning rate of a step: step -> float."""
    if c.schedule not in SCHEDULES:
        raise UserError(f"No optim.schedule '{c.schedule}'.{suggest(c.schedule, SCHEDULES)}")
    return SCHEDULES[c.schedule](c, total_steps)


def decays(params):
    """Weight decay for matrices only, not for gains, biases, positions and codebooks."""
    return jax.tree_util.tree_map_with_path(
        lambda path, p: p.ndim >= 2 and getattr(path[-1], "key", "") == "kernel", params
    )


def make(c, total_steps):
    """`optax.GradientTransformation` of the config, and its learning-rate schedule."""
    if total_steps < 1:
        raise UserError(f"config.total_steps={total_steps} must be at least 1")
    if c.name not in OPTIMIZERS:
        raise UserError(f"No optim.name '{c.name}'.{suggest(c.name, OPTIMIZERS)}")
    rate = schedule(c, total_steps)
    decay = c.weight_decay if c.name == "adamw" else 0.0
    return optax.chain(
        optax.clip_by_global_norm(c.clip_norm) if c.clip_norm else optax.identity(),
        optax.adamw(rate, c.b1, c.b2, c.eps, weight_decay=decay, mask=decays),
    ), rate
