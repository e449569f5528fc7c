"""The flow teacher as a target: a decoder learns the flow that a frozen RAFT sees.

`config.flow` says which teacher and how much it counts (see configs/laq.py). The teacher's weights
reach the jitted step as its argument `frozen["teacher"]`. B batch, H W pixels.
"""

import dataclasses

import jax
import jax.numpy as jnp

from lam.errors import UserError
from lam.flow import weights
from lam.models import raft
from lam.ops import motion


@dataclasses.dataclass(frozen=True)
class Target:
    """What the flow target is.

    Attributes:
      teacher: as `lam.flow.load` takes it.
      weight: of the mean squared error of the flow, as a share of the frame.
      summary_weight: of the squared error of its `summary`, likewise.
      warmup: steps over which both weights grow from zero.
      updates: of the teacher's flow.
      chunk: pairs that the teacher sees at once; 0 = all.
    """

    teacher: str
    weight: float
    summary_weight: float
    warmup: int
    updates: int
    chunk: int

    def read(self):
        """The teacher's variables from its file: numpy arrays; UserError."""
        return weights.read(weights.find(self.teacher))[1]

    def flow(self, variables, first, second):
        """The teacher's flow of uint8 or float frames: float32 [B,H,W,2], pixels; no gradient."""
        model = raft.Raft(raft.size_of(variables["params"]))
        estimate = lambda pair: raft.estimate(model, variables, *pair, self.updates)  # noqa: E731
        chunk = self.chunk or len(first)
        if len(first) % chunk:
            raise UserError(
                f"config.flow.chunk={self.chunk} must divide the batch of {len(first)} pairs"
            )
        if chunk == len(first):
            return jax.lax.stop_gradient(estimate((first, second)))
        chunks = jax.tree.map(lambda x: x.reshape(-1, chunk, *x.shape[1:]), (first, second))
        flow = jax.lax.map(estimate, chunks)
        return jax.lax.stop_gradient(flow.reshape(*first.shape[:3], 2))

    def loss(self, share, flow, steps):
        """The weighted loss of a decoded flow and its metrics.

        Args:
          share: float32 [B,H,W,2], decoded, as a share of the frame.
          flow: the teacher's, in pixels.
          steps: taken before this one.
        """
        size = frame_size(flow)
        error = jnp.mean((share - flow / size) ** 2)
        weight = summary_weight(flow)
        off_B2 = motion.weighted_mean(share - flow / size, weight)
        summary_error = jnp.mean(off_B2**2)
        loss = self.weight * error + self.summary_weight * summary_error
        off, zero = motion.length(share * size - flow), motion.length(flow)
        over_zero = jnp.mean(off) / jnp.maximum(jnp.mean(zero), 1e-6)
        metrics = {"flow_mse": error, "flow_epe": jnp.mean(off), "flow_epe_over_zero": over_zero}
        metrics["flow_summary_mse"] = summary_error
        return loss * jnp.minimum(1.0, (steps + 1) / max(self.warmup, 1)), metrics


def summary_weight(flow):
    """Weights of pixels in the mean of a flow: the teacher's lengths; all equal where nothing
    moves, so that the mean of noise is not its largest speck. [B,H,W]."""
    speed = motion.length(flow)
    fraction_B = motion.averages(flow, jnp.ones_like(speed))[1]["moving_fraction"]
    return jnp.where(fraction_B[:, None, None] < motion.STATIC, 1.0, speed)


def frame_size(flow):
    """(W, H) of the frames of a flow [B,H,W,2], pixels."""
    return jnp.array([flow.shape[2], flow.shape[1]], jnp.float32)


def make(section):
    """The Target of `config.flow`, None where it names no teacher; UserError."""
    if not section or not section["teacher"]:
        return None
    target = Target(**{f.name: section[f.name] for f in dataclasses.fields(Target)})
    given = (target.weight, target.summary_weight)
    if target.updates < 1 or target.chunk < 0 or target.warmup < 0 or min(given) < 0:
        raise UserError(
            f"config.flow: updates={target.updates} must be at least 1; chunk={target.chunk}, "
            f"warmup={target.warmup}, weight={target.weight:g} and "
            f"summary_weight={target.summary_weight:g} at least 0"
        )
    if not max(given):
        raise UserError(
            "config.flow names a teacher, but weight and summary_weight are 0: set one of them, or "
            'config.flow.teacher=""'
        )
    return target
