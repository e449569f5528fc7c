"""True actions for a few pairs: `config.action`. A linear head reads them from the codes (LAOM,
Nikulin et al., 2025: a few per cent of labels make latent actions several times better).

B batch, A dims of the action, D the dims that are supervised.
"""

import dataclasses

import jax.numpy as jnp

from lam.errors import UserError

HASH = 2654435761  # Knuth's multiplicative hash, so that neighbouring scenes are not alike


@dataclasses.dataclass(frozen=True)
class Supervision:
    """Which actions are told and how much they count.

    Attributes:
      weight: of the mean squared error of the action; 0 = none.
      share: of the scenes whose actions are told, the same ones all through training.
      dims: of the action that are supervised.
    """

    weight: float = 0.0
    share: float = 0.05
    dims: tuple[int, ...] = (0, 1)

    def check(self, batch):
        """UserError where the batch's actions have no such dims."""
        width = batch["action"].shape[1] if "action" in batch else 0
        if self.weight and max(self.dims) >= width:
            raise UserError(
                f"config.action.dims={self.dims}, but the actions of these data have {width} dims: "
                "choose among them, or set config.action.weight=0"
            )

    def loss(self, found_BD, batch):
        """(weighted loss of the actions read from the codes, metrics), over the told pairs."""
        action_BD = batch["action"][:, self.dims]
        mask_B1 = told(batch["scene_id"], self.share)[:, None]
        mask_BD = mask_B1 * batch["action_mask"][:, self.dims].astype(jnp.float32)
        count = jnp.sum(mask_BD)
        error = jnp.sum(mask_BD * (found_BD - action_BD) ** 2) / jnp.maximum(count, 1.0)
        return self.weight * error, {"action_mse": error, "action_told": jnp.mean(mask_BD)}


def told(scene_B, share):
    """Is a scene's action told? float32 [B], 0 or 1, by a hash of its id."""
    hashed_B = (scene_B.astype(jnp.uint32) * jnp.uint32(HASH)) >> 8
    return (hashed_B < share * (1 << 24)).astype(jnp.float32)


def make(section):
    """The Supervision of `config.action`, None where its weight is 0; UserError."""
    made = Supervision(**{**section, "dims": tuple(section["dims"])})
    if made.weight < 0 or not 0 < made.share <= 1 or not made.dims or min(made.dims) < 0:
        raise UserError(
            f"config.action: weight={made.weight:g} must be at least 0, share={made.share:g} above "
            f"0 and at most 1, dims={made.dims} at least one dim of the action"
        )
    return made if made.weight else None
