"""The latent action quantizer as a trainable task.

B batch, T frames, H W pixels, C channels, L token positions, G codebooks, K codes, Z code width.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lam.errors import UserError
from lam.models import codebooks, laq_weights, quantizers, transformer
from lam.models.laq import LAQ
from lam.ops import motion
from lam.ops.image import to_float
from lam.tasks import (
    augmentation,
    feature_target,
    flow_target,
    laq_model,
    latent_target,
    supervision,
)

HEALTHY = 0.5  # share of the codes that should be alive
NO_CHANGE = augmentation.Augmentation()


@dataclasses.dataclass(frozen=True)
class Task:
    """A LAQ and how its codebook is kept alive.

    Attributes:
      teacher: of the flow that the flow decoder learns, None without one.
      features: what a tower's features teach, None without one.
      latent: features that are learned along with the actions, None without.
      action: which true actions are told, None for none.
      augment: how training pairs are changed.
      pixel_weight: of the error of frame 2.
      guided_weight: of the error of frame 2 put together by the encoder's parts.
      noise_warmup: steps over which the quantisation noise grows to its full length.
      follow_rate: how far a code moves in a step to the mean of its outputs; 0 = gradient only.
      reseed_every: steps between looks at the use of the codes; 0 = never re-seed.
      reseed_until: last step at which codes are moved.
      reseed_threshold: share of its fair use below which a code is dead.
      start: file of weights to begin with (lam/models/laq_weights.py); "" = random ones.
    """

    model: LAQ
    teacher: flow_target.Target | None = None
    features: feature_target.Target | None = None
    latent: latent_target.Target | None = None
    action: supervision.Supervision | None = None
    augment: augmentation.Augmentation = NO_CHANGE
    pixel_weight: float = 1.0
    guided_weight: float = 1.0
    noise_warmup: int = 0
    follow_rate: float = 0.0
    reseed_every: int = 50
    reseed_until: int = 1_000_000
    reseed_threshold: float = 0.1
    start: str = ""
    sharding = transformer.SHARDING

    @property
    def num_tokens(self):
        return self.model.num_tokens

    @property
    def num_codes(self):
        return self.model.num_codes

    @property
    def discrete(self):
        """Are there tokens?"""
        return self.model.quantizer != "vae"

    @property
    def codebooks(self):
        return 1 if self.model.shared_codebook else self.num_tokens

    @property
    def upkeep(self):
        """The class of the quantizer where it has a codebook, which is kept alive; else None."""
        return quantizers.WITH_CODEBOOK.get(self.model.quantizer)

    def frozen(self):
        """{"teacher": the flow teacher's variables, "tower": those of the feature tower}, each
        where there is such a target."""
        nets = {"teacher": self.teacher, "tower": self.features}
        return {name: net.read() for name, net in nets.items() if net}

    def needed(self):
        """What of `frozen` the predictions need that are not compared with a target: the tower's
        variables where the encoder sees by it."""
        return {"tower": self.features.read()} if self.model.encoder == "features" else {}

    def seen(self, frozen, first, second):
        """What the encoder is given: the frames, or what the tower sees in them."""
        if self.model.encoder != "features":
            return first, second
        return self.features.pair(frozen["tower"], first, second)

    def init(self, rng, batch, frozen=None):
        """Parameters, with the codebook on the encoder outputs of `batch`, and empty counters.

        Raises:
          UserError: images of this size cannot be cut into these patches, or `start` is of another
            model.
        """
        first, second = split(batch)
        size, patch = first.shape[1], self.model.patch
        if patch < 2 or patch % 2 or size % patch:
            raise UserError(
                f"config.data.image_size={size} must be a multiple of config.model.patch={patch}, "
                "which must be even"
            )
        if self.action:
            self.action.check(batch)
        init_rng, code_rng = jax.random.split(rng)
        features = None
        if self.model.feature_depth:
            features = jnp.zeros((len(first), *self.features.shape()))
        seen = self.seen(frozen, first, second)
        params = self.model.init(init_rng, first, second, seen=seen, features=features)["params"]
        if self.start:
            params = laq_weights.begin(self.start, self.model, params)
        extra = {"steps": jnp.zeros((), jnp.int32)}
        if self.latent:
            extra["average"] = jax.tree.map(jnp.copy, params["frame_encoder"])
        if self.discrete:
            extra["usage"] = jnp.full((self.codebooks, self.num_codes), 1 / self.num_codes)
        if self.upkeep:
            z_BLZ = self.model.apply({"params": params}, *seen, method="encode")
            if not self.start:
                codebook = self.upkeep.begin(z_BLZ, self.codebooks, self.num_codes, code_rng)
                params = {**params, "bottleneck": {"codebook": codebook}}
            extra["averages"] = self.upkeep.averages(params["bottleneck"]["codebook"])
            counts = jnp.zeros((self.codebooks, self.num_codes))
            extra |= {"recent": z_BLZ, "counts": counts}
        return params, extra

    def loss(self, params, frozen, extra, batch, rng):
        """Mean squared error of frame 2 in [0,1]; counts codes and keeps the encoder outputs."""
        (first, second), seen = self.augment(*split(batch), jax.random.fold_in(rng, 1))
        noise = jnp.minimum(1.0, extra["steps"] / max(self.noise_warmup, 1))
        noise = noise if self.noise_warmup else 1.0
        features = None, None
        if self.features:
            features = self.features.pair(frozen["tower"], first, second)
        if self.model.encoder == "features":
            seen = self.seen(frozen, *seen) if seen else features  # once, where they are the same
        out = self.model.apply({"params": params}, first, second, rng, noise, seen, features[0])
        mse = jnp.mean((out.recon - second) ** 2)
        copy_mse = jnp.maximum(jnp.mean((first - second) ** 2), 1e-8)
        metrics = {"mse": mse, "mse_over_copy": mse / copy_mse}
        metrics["quantizer_loss"] = out.quantizer_loss
        loss = self.pixel_weight * mse + out.quantizer_loss
        if out.guided is not None:
            metrics["guided_mse"] = jnp.mean((out.guided - second) ** 2)
            loss += self.guided_weight * metrics["guided_mse"]
        if self.teacher:
            flow = self.teacher.flow(frozen["teacher"], first, second)
            found = self.teacher.loss(out.flow, flow, extra["steps"])
            loss, metrics = loss + found[0], metrics | found[1]
        if self.features:
            found = self.features.loss(frozen["tower"], out, features, extra["steps"])
            loss, metrics = loss + found[0], metrics | found[1]
        if self.latent:
            average = {"params": {"frame_encoder": extra["average"]}}
            truth = self.model.apply(average, second, method="see")
            found = self.latent.loss(*out.predicted, truth, extra["steps"])
            loss, metrics = loss + found[0], metrics | found[1]
        if self.action:
            found = self.action.loss(out.action, batch)
            loss, metrics = loss + found[0], metrics | found[1]
        extra, health = self.count(params, extra, out)
        return loss, (extra, metrics | health)

    def count(self, params, extra, out):
        """(extra with the use of the codes by this pass, metrics of the codes' health)."""
        if not self.discrete:
            return extra, {}
        used_GK = codebooks.count(out.tokens, self.codebooks, self.num_codes)
        usage_GK = codebooks.running_usage(extra["usage"], used_GK)
        extra, health = {**extra, "usage": usage_GK}, codebooks.health(usage_GK)
        if self.upkeep:
            counted = self.upkeep.count(out.tokens, self.codebooks, self.num_codes)
            extra |= {"counts": extra["counts"] + counted, "recent": out.outputs}
            spread = jnp.std(params["bottleneck"]["codebook"]) + 1e-9
            health["spread_ratio"] = jnp.std(out.outputs) / spread
        return extra, health

    def post_step(self, params, extra, rng):
        """Codes follow the encoder; the dead ones are re-seeded from its last outputs."""
        steps = extra["steps"] + 1
        extra = {**extra, "steps": steps}
        if self.latent:
            extra["average"] = self.latent.follow(extra["average"], params["frame_encoder"])
        if not self.upkeep:
            return params, extra
        codebook_GKZ, averages = self.upkeep.move(
            params["bottleneck"]["codebook"], extra["averages"], extra["recent"], self.follow_rate
        )
        due = self.upkeep.due(steps, self.reseed_every, self.reseed_until)
        fresh_GKZ, dead_GK = self.upkeep.reseed(
            codebook_GKZ, extra["counts"], self.reseed_threshold, extra["recent"], rng
        )
        codebook_GKZ = jnp.where(due, fresh_GKZ, codebook_GKZ)
        extra["counts"] = jnp.where(due, 0.0, extra["counts"])
        extra["averages"] = self.upkeep.restart(averages, due & dead_GK, codebook_GKZ)
        return {**params, "bottleneck": {"codebook": codebook_GKZ}}, extra

    def health(self, row):
        """How many codes live, how evenly they are used; a warning when they die."""
        if not self.discrete:
            return "", ""
        total = self.codebooks * self.num_codes
        alive = round(row["codes_alive"] * total)
        line = f"codes alive {alive} of {total}, perplexity {row['perplexity_min']:.1f} of "
        line += f"{self.num_codes}"
        if "spread_ratio" in row:
            line += f", spread of outputs over codes {row['spread_ratio']:.2f}"
        if row["codes_alive"] >= HEALTHY:
            return line, ""
        return line, (
            f"codes die, {alive} of {total} are alive: re-seed them more often or for longer "
            f"(config.model.reseed_every={self.reseed_every}, "
            f"reseed_until={self.reseed_until}), or lower config.optim.lr"
        )

    @property
    def predict(self):
        found = {"latents": self.latents, "reconstruct": self.reconstruct}
        found["transfer"] = self.transfer
        if self.discrete:
            found |= {"tokens": self.tokens, "codes": self.codes}
        if self.model.flow_depth:
            found["decoded_flow"] = self.decoded_flow
        if self.teacher:
            found |= {"flow": self.flow, "errors": self.errors}
        return found

    def tokens(self, variables, batch):
        """{"tokens": int32 [B,L]}."""
        return {"tokens": self.latents(variables, batch)["tokens"]}

    def latents(self, variables, batch):
        """{"latents": float32 [B,L,Z], what says the action before it is quantised; "tokens": int32
        [B,L], where there are any}."""
        seen = self.seen(variables["frozen"], *split(batch))
        latents_BLZ, tokens_BL = self.model.apply(weights(variables), *seen, method="action")
        return {"latents": latents_BLZ} | ({"tokens": tokens_BL} if self.discrete else {})

    def reconstruct(self, variables, batch):
        """{"recon": float32 [B,H,W,3] in [0,1], without training noise, and as `latents` gives}."""
        seen = self.seen(variables["frozen"], *split(batch))
        out = self.model.apply(weights(variables), *split(batch), seen=seen)
        tokens = {"tokens": out.tokens} if self.discrete else {}
        return {"recon": jnp.clip(out.recon, 0, 1), "latents": out.latents, **tokens}

    def transfer(self, variables, batch):
        """Frame 1 moved by the given `batch["tokens"]` [B,L] or else `batch["latents"]` [B,L,Z]:
        {"recon": [B,H,W,3] in [0,1]}."""
        first = to_float(batch["frames"][:, 0])
        recon = self.model.apply(weights(variables), first, *given(batch), method="decode")
        return {"recon": jnp.clip(recon, 0, 1)}

    def codes(self, variables, batch):
        """What the decoders are given for `batch["tokens"]` [B,L]: {"codes": float32 [B,L,Z]}."""
        tokens = batch["tokens"]
        return {"codes": self.model.apply(weights(variables), tokens, method="codes")}

    def decoded_flow(self, variables, batch):
        """The flow that `batch["tokens"]` or else `batch["latents"]` say of frame 1: {"flow":
        float32 [B,H,W,2], pixels}."""
        first = to_float(batch["frames"][:, 0])
        codes = self.model.apply(weights(variables), *given(batch), method="codes")
        share = self.model.apply(weights(variables), first, codes, method="share")
        return {"flow": share * flow_target.frame_size(share)}

    def flow(self, variables, batch):
        """Flow by the teacher and by the codes, pixels: first, second float32 [B,H,W,3] in [0,1],
        flow, found float32 [B,H,W,2]."""
        first, second = split(batch)
        flow = self.teacher.flow(variables["frozen"]["teacher"], first, second)
        seen = self.seen(variables["frozen"], first, second)
        share = self.model.apply(weights(variables), first, second, seen=seen).flow
        found = share * flow_target.frame_size(flow)
        return {"first": first, "second": second, "flow": flow, "found": found}

    def errors(self, variables, batch):
        """Errors of the decoded flow, see `lam.ops.motion.endpoint_errors`."""
        made = self.flow(variables, batch)
        return motion.endpoint_errors(made["found"], made["flow"])


def weights(variables):
    return {"params": variables["params"]}


def split(batch):
    """First and last frame as float32 [B,H,W,3] in [0,1]."""
    frames_BTHWC = batch["frames"]
    return to_float(frames_BTHWC[:, 0]), to_float(frames_BTHWC[:, -1])


def given(batch):
    """(tokens or None, latents or None) of a batch."""
    return batch.get("tokens"), batch.get("latents")


def make(config: Mapping) -> Task:
    """The task of a config; UserError. "model" has the fields of LAQ and of Task side by side, each
    of the other sections those of its part and the depth of its decoder."""
    model = config["model"]
    dtype = jnp.dtype(model.get("dtype", "float32"))
    parts = {
        "teacher": flow_target.make(config["flow"]),
        "features": feature_target.make(config["features"], dtype, model["encoder"]),
        "latent": latent_target.make(config["latent"]),
        "action": supervision.make(config["action"]),
        "augment": augmentation.make(config["augment"]),
    }
    own = {field.name for field in dataclasses.fields(Task)} - {"model", *parts}
    own = {key: model[key] for key in own if key in model}
    return Task(laq_model.make(config, parts, dtype), **parts, **own)
