"""The flow teacher as a trainable task: RAFT on procedural pairs made within the step.

The batch holds only random words for each pair (`input_pipeline.procedural`), so that pair i is a
function of the run's seed and of i. B batch, H W pixels, U updates.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lam.errors import UserError
from lam.flow import weights
from lam.models import raft
from lam.ops import flow_pairs, motion
from lam.registry import suggest


@dataclasses.dataclass(frozen=True)
class Task:
    """A RAFT and its lessons.

    Attributes:
      frame: pixels of a side of the pairs.
      max_motion: pixels, of the pairs; 0 = 30 in 256, in proportion.
      updates: of the flow, in training and in predictions.
      gamma: weight of an update's error relative to the update after it.
      start: weights to begin with, as `lam.flow.load` takes them; "" = random ones.
    """

    model: raft.Raft
    frame: int = 128
    max_motion: float = 0.0
    updates: int = 12
    gamma: float = 0.8
    start: str = ""
    sharding = ()

    def frozen(self):
        """Nothing is given: {}."""
        return {}

    def init(self, rng, batch, frozen=None):
        """Parameters and, for the large size, the statistics of its batch norm; UserError."""
        del batch, frozen
        if self.start:
            size, variables, _ = weights.read(weights.find(self.start))
            if size != self.model.size:
                raise UserError(
                    f"config.model.start={self.start} is a raft_{size}, this is to be a "
                    f"raft_{self.model.size}: set config.model.size={size}"
                )
            variables = jax.tree.map(jnp.asarray, variables)
        else:
            frame = jnp.zeros((1, self.frame, self.frame, 3))
            variables = self.model.init(rng, frame, frame, updates=1)
        params = variables.pop("params")
        return params, {"variables": variables}

    def pairs(self, batch):
        """first, second uint8 [B,H,W,3], flow float32 [B,H,W,2], visible bool [B,H,W]."""
        return flow_pairs.batch(
            jax.random.wrap_key_data(batch["seed"], impl="threefry2x32"),
            self.frame,
            self.max_motion,
        )

    def loss(self, params, frozen, extra, batch, rng):
        """Sequence loss: the absolute error of each update, later ones counting more.

        All pixels count, also those that are hidden in frame 2: where they went is known.
        """
        del frozen, rng
        first, second, flow, visible = self.pairs(batch)
        flows_UBHW2, variables = self.model.apply(
            {"params": params, **extra["variables"]},
            raft.normalise(first),
            raft.normalise(second),
            self.updates,
            every=True,
            train=True,
            mutable=list(extra["variables"]),
        )
        weight_U = self.gamma ** jnp.arange(self.updates - 1, -1, -1.0)
        error_U = jnp.mean(jnp.abs(flows_UBHW2 - flow), axis=(1, 2, 3, 4))
        errors = motion.endpoint_errors(flows_UBHW2[-1], flow, visible)
        metrics = {name: jnp.mean(error_B) for name, error_B in errors.items()}
        return jnp.sum(weight_U * error_U), ({"variables": dict(variables)}, metrics)

    def post_step(self, params, extra, rng):
        """Nothing is left to do."""
        del rng
        return params, extra

    def health(self, row):
        """The loss says it all."""
        del row
        return "", ""

    @property
    def predict(self):
        return {"errors": self.errors, "flow": self.flow}

    def errors(self, variables, batch):
        """{name: float32 [B]} of `motion.endpoint_errors`."""
        first, second, flow, visible = self.pairs(batch)
        return motion.endpoint_errors(self.estimate(variables, first, second), flow, visible)

    def flow(self, variables, batch):
        """Pairs and what is made of them: first, second uint8 [B,H,W,3], flow, found float32
        [B,H,W,2], visible bool [B,H,W]."""
        first, second, flow, visible = self.pairs(batch)
        found = self.estimate(variables, first, second)
        return {"first": first, "second": second, "flow": flow, "found": found, "visible": visible}

    def estimate(self, variables, first, second):
        """Flow of uint8 frames: float32 [B,H,W,2]."""
        variables = {"params": variables["params"], **variables["extra"]["variables"]}
        return raft.estimate(self.model, variables, first, second, self.updates)


def make(config: Mapping) -> Task:
    """The task of a config: "model" has the fields of Raft and of Task side by side; UserError."""
    model = config["model"]
    if model["size"] not in raft.SIZES:
        raise UserError(f"No model.size '{model['size']}'.{suggest(model['size'], raft.SIZES)}")
    if model["frame"] < raft.SMALLEST or model["frame"] % raft.STRIDE:
        raise UserError(
            f"config.model.frame={model['frame']} must be a multiple of {raft.STRIDE} of at least "
            f"{raft.SMALLEST} pixels"
        )
    if model["updates"] < 1 or not 0 < model["gamma"] <= 1:
        raise UserError(
            f"config.model.updates={model['updates']} must be at least 1 and config.model.gamma="
            f"{model['gamma']:g} above 0 and at most 1"
        )
    own = {field.name for field in dataclasses.fields(Task)} - {"model"}
    fields = {key: value for key, value in model.items() if key not in own}
    fields["dtype"] = jnp.dtype(fields.get("dtype", "float32"))
    return Task(raft.Raft(**fields), **{key: model[key] for key in own if key in model})
