"""The LAQ of a config, and what is wrong with a config before anything is built."""

import dataclasses

from lam.errors import UserError
from lam.models import quantizers
from lam.models.lapa import HALF_GRIDS
from lam.models.laq import LAQ, NETS
from lam.ops import fsq
from lam.registry import suggest


def make(config, parts, dtype):
    """The LAQ of a config; UserError.

    Args:
      config: of the run, a mapping.
      parts: {name of a field of the task: what teaches the codes, or None}.
      dtype: of the compute.
    """
    model = config["model"]
    if model["encoder"] not in NETS:
        raise UserError(f"No model.encoder '{model['encoder']}'.{suggest(model['encoder'], NETS)}")
    if model["width"] % model["heads"]:
        raise UserError(
            f"config.model.width={model['width']} must be a multiple of "
            f"config.model.heads={model['heads']}"
        )
    check_quirks(model)
    check_teachers(model, parts)
    names = {field.name for field in dataclasses.fields(LAQ)} - {"parent", "name"}
    fields = {key: value for key, value in model.items() if key in names}
    fields |= quantizer_fields(model) | {"dtype": dtype}
    if parts["teacher"]:
        fields["flow_depth"] = config["flow"]["depth"]
    if parts["features"] and parts["features"].weight:
        fields["feature_depth"] = config["features"]["depth"]
    if parts["latent"]:
        fields["latent_depth"] = config["latent"]["depth"]
    if parts["action"]:
        fields["action_dims"] = len(parts["action"].dims)
    return LAQ(**fields)


def check_teachers(model, parts):
    """UserError where no loss reaches the codes."""
    pixels = not model["detach_pixels"] and model["pixel_weight"] + model["guided_weight"]
    features = parts["features"] and parts["features"].weight
    if not (pixels or features or parts["teacher"] or parts["latent"] or parts["action"]):
        raise UserError(
            "nothing would teach the codes: set config.flow.teacher, config.features.tower, "
            "config.latent.weight or config.action.weight, or config.model.detach_pixels=False and "
            "pixel_weight above 0"
        )


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
