"""The latent action quantizer as a trainable task.

B batch, T frames, H W pixels, C channels, L token positions, G codebooks, K codes, Z code width.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lam.errors import UserError
from lam.models import codebooks, laq_weights, quantizers, transformer
from lam.models.lapa import HALF_GRIDS
from lam.models.laq import LAQ, NETS
from lam.ops import fsq, motion
from lam.ops.image import to_float
from lam.registry import suggest
from lam.tasks import flow_target


@dataclasses.dataclass(frozen=True)
class Task:
    """A LAQ and how its codebook is kept alive.

    Attributes:
      guided_weight: of the error of frame 2 put together by the encoder's parts.
      noise_warmup: steps over which the quantisation noise grows to its full length.
      follow_rate: how far a code moves in a step to the mean of its outputs; 0 = gradient only.
      reseed_every: steps between looks at the use of the codes; 0 = never re-seed.
      reseed_until: last step at which codes are moved.
      reseed_threshold: share of its fair use below which a code is dead.
      start: file of weights to begin with (lam/models/laq_weights.py); "" = random ones.
      target: what the flow decoder learns, None without one.
    """

    model: LAQ
    target: flow_target.Target | None = None
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
    def codebooks(self):
        return 1 if self.model.shared_codebook else self.num_tokens

    @property
    def upkeep(self):
        """The class of the quantizer where it has a codebook, which is kept alive; else None."""
        return quantizers.WITH_CODEBOOK.get(self.model.quantizer)

    def frozen(self):
        """{"teacher": the flow teacher's variables} where there is a flow target."""
        return {"teacher": self.target.read()} if self.target else {}

    def init(self, rng, batch):
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
        init_rng, code_rng = jax.random.split(rng)
        params = self.model.init(init_rng, first, second)["params"]
        if self.start:
            params = laq_weights.begin(self.start, self.model, params)
        z_BLZ = self.model.apply({"params": params}, first, second, method="encode")
        counts = jnp.zeros((self.codebooks, self.num_codes), jnp.float32)
        extra = {"counts": counts, "recent": z_BLZ, "steps": jnp.zeros((), jnp.int32)}
        if self.upkeep:
            if not self.start:
                codes = codebooks.init_codes(z_BLZ, self.codebooks, self.num_codes, code_rng)
                params = {**params, "bottleneck": {"codebook": codes}}
            extra["averages"] = self.upkeep.averages(params["bottleneck"]["codebook"])
        return params, extra

    def loss(self, params, frozen, extra, batch, rng):
        """Mean squared error of frame 2 in [0,1]; counts codes and keeps the encoder outputs."""
        first, second = split(batch)
        noise = jnp.minimum(1.0, extra["steps"] / max(self.noise_warmup, 1))
        recon, guided, tokens_BL, z_BLZ, share, quantizer_loss = self.model.apply(
            {"params": params}, first, second, rng, noise if self.noise_warmup else 1.0
        )
        mse = jnp.mean((recon - second) ** 2)
        guided_mse = 0.0 if guided is None else jnp.mean((guided - second) ** 2)
        flow_loss, flow_metrics = 0.0, {}
        if self.target:
            flow = self.target.flow(frozen["teacher"], first, second)
            flow_loss, flow_metrics = self.target.loss(share, flow, extra["steps"])
        used = codebooks.count(tokens_BL, self.codebooks, self.num_codes)
        extra = {**extra, "counts": extra["counts"] + used, "recent": z_BLZ}
        copy_mse = jnp.maximum(jnp.mean((first - second) ** 2), 1e-8)
        metrics = {"mse": mse, "guided_mse": guided_mse, "mse_over_copy": mse / copy_mse}
        metrics |= {"quantizer_loss": quantizer_loss, **code_health(used), **flow_metrics}
        if self.upkeep:
            codes_GKZ = params["bottleneck"]["codebook"]
            metrics["spread_ratio"] = jnp.std(z_BLZ) / (jnp.std(codes_GKZ) + 1e-9)
        loss = mse + self.guided_weight * guided_mse + quantizer_loss + flow_loss
        return loss, (extra, metrics)

    def post_step(self, params, extra, rng):
        """Codes follow the encoder; the dead ones are re-seeded from its last outputs."""
        steps = extra["steps"] + 1
        every = self.reseed_every or 1
        due = (steps % every == 0) & (steps <= self.reseed_until) & (self.reseed_every > 0)
        new = {"steps": steps, "counts": jnp.where(due, 0.0, extra["counts"])}
        if not self.upkeep:
            return params, {**extra, **new}
        codebook_GKZ, averages = self.upkeep.move(
            params["bottleneck"]["codebook"], extra["averages"], extra["recent"], self.follow_rate
        )
        dead_GK = due & codebooks.dead(extra["counts"], self.reseed_threshold)
        codebook_GKZ = codebooks.reseed(codebook_GKZ, dead_GK, extra["recent"], rng)
        new["averages"] = self.upkeep.restart(averages, dead_GK, codebook_GKZ)
        return {**params, "bottleneck": {"codebook": codebook_GKZ}}, {**extra, **new}

    @property
    def predict(self):
        always = {
            "tokens": self.tokens, "latents": self.latents, "reconstruct": self.reconstruct,
            "transfer": self.transfer,
        }  # fmt: skip
        return always | ({"flow": self.flow, "errors": self.errors} if self.target else {})

    def tokens(self, variables, batch):
        """{"tokens": int32 [B,L]}."""
        tokens_BL = self.model.apply(weights(variables), *split(batch), method="tokens")
        return {"tokens": tokens_BL}

    def latents(self, variables, batch):
        """{"tokens": int32 [B,L], "latents": float32 [B,L,Z], what they were quantised from}."""
        z_BLZ = self.model.apply(weights(variables), *split(batch), method="encode")
        return {**self.tokens(variables, batch), "latents": z_BLZ}

    def reconstruct(self, variables, batch):
        """{"recon": float32 [B,H,W,3] in [0,1], "tokens": int32 [B,L]}, without training noise."""
        out = self.model.apply(weights(variables), *split(batch))
        return {"recon": jnp.clip(out.recon, 0, 1), "tokens": out.tokens}

    def transfer(self, variables, batch):
        """Frame 1 moved by the given `batch["tokens"]` [B,L]: {"recon": [B,H,W,3] in [0,1]}."""
        first = to_float(batch["frames"][:, 0])
        recon = self.model.apply(weights(variables), first, batch["tokens"], method="decode")
        return {"recon": jnp.clip(recon, 0, 1)}

    def flow(self, variables, batch):
        """Flow by the teacher and by the tokens, pixels: first, second float32 [B,H,W,3] in [0,1],
        flow, found float32 [B,H,W,2]."""
        first, second = split(batch)
        flow = self.target.flow(variables["frozen"]["teacher"], first, second)
        tokens_BL = self.tokens(variables, batch)["tokens"]
        share = self.model.apply(weights(variables), first, tokens_BL, method="flow")
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


def code_health(counts_GK):
    """Perplexity of the least used codebook, and the share of all codes that were used at all."""
    shares = counts_GK / jnp.sum(counts_GK, axis=-1, keepdims=True)
    perplexity_G = jnp.exp(-jnp.sum(shares * jnp.log(shares + 1e-9), axis=-1))
    return {"perplexity_min": jnp.min(perplexity_G), "codes_used": jnp.mean(counts_GK > 0)}


def make(config: Mapping) -> Task:
    """The task of a config; UserError. "model" has the fields of LAQ and of Task side by side,
    "flow" those of `flow_target.Target`, and the decoder's depth."""
    model = config["model"]
    if model["encoder"] not in NETS:
        raise UserError(f"No model.encoder '{model['encoder']}'.{suggest(model['encoder'], NETS)}")
    if model["width"] % model["heads"]:
        raise UserError(
            f"config.model.width={model['width']} must be a multiple of "
            f"config.model.heads={model['heads']}"
        )
    check_quirks(model)
    section = config.get("flow")
    target = flow_target.make(section)
    model = {**model, **quantizer_fields(model)}
    own = {field.name for field in dataclasses.fields(Task)} - {"model", "target"}
    fields = {key: value for key, value in model.items() if key not in own}
    fields["dtype"] = jnp.dtype(fields.get("dtype", "float32"))
    fields["flow_depth"] = section["depth"] if target else 0
    return Task(LAQ(**fields), target, **{key: model[key] for key in own if key in model})


def check_quirks(model):
    """UserError where config.model.quirks is asked of a net or of tokens that know none."""
    if model.get("quirks") and (
        model["encoder"] != "lapa" or model["num_tokens"] not in HALF_GRIDS
    ):
        raise UserError(
            f"config.model.quirks is for config.model.encoder=lapa (now {model['encoder']}) with "
            f"config.model.num_tokens in {', '.join(map(str, HALF_GRIDS))} "
            f"(now {model['num_tokens']})"
        )


def quantizer_fields(model):
    """The fields of LAQ that the quantizer decides; UserError where there is no such one."""
    name = model.get("quantizer", "nsvq")
    if name not in quantizers.NAMES:
        raise UserError(f"No model.quantizer '{name}'.{suggest(name, quantizers.NAMES)}")
    if name != "fsq":
        return {"levels": ()}
    levels = tuple(model["levels"]) or fsq.TABLE.get(model["num_codes"])
    if not levels or min(levels) < fsq.LEAST:
        known = ", ".join(map(str, fsq.TABLE))
        raise UserError(
            f"config.model.num_codes={model['num_codes']} has no levels for fsq and "
            f"config.model.levels={tuple(model['levels'])} gives none of at least {fsq.LEAST}: "
            f"choose one of {known}, or give levels such as (8,5,5,5)"
        )
    return {"levels": levels, "num_codes": fsq.size(levels), "code_width": len(levels)}
