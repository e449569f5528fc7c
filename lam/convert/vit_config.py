"""Hugging Face's config.json of a vision tower -> our Spec.

Files leave out what is usual for their kind, so the usual stands here, too.
"""

import json
import os

from lam.errors import UserError
from lam.models.vit_specs import PUBLISHED, Spec

BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224}
USUAL = {
    "dinov2": BASE | {"patch_size": 14},
    "dinov2_with_registers": BASE | {"patch_size": 16, "num_register_tokens": 4},
    "dinov3_vit": {
        "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "patch_size": 16,
        "intermediate_size": 1536, "layer_norm_eps": 1e-5,
    },
    "siglip_vision_model": BASE | {"patch_size": 16, "intermediate_size": 3072},
    "siglip2_vision_model": BASE | {
        "patch_size": 16, "intermediate_size": 3072, "num_patches": 256,
    },
}  # fmt: skip
WHOLE = {"siglip": "siglip_vision_model", "siglip2": "siglip2_vision_model"}  # with a text half
ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "silu": "silu"}
NEARLY = 0.9  # likeness from which on a file is one of a size with something wrong
MUST = {"num_channels": 3, "proj_bias": True, "mlp_bias": True}


def read(path):
    """The Spec of a config.json; UserError where it is none, or of a net that we do not have."""
    try:
        with open(path) as file:
            given = json.load(file)
        kind = given["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no config.json of Hugging Face's: {error!r}") from None
    if kind in WHOLE:
        kind, given = WHOLE[kind], given.get("vision_config") or {}
    if kind not in USUAL:
        raise UserError(f"{path} is of '{kind}'; we have {', '.join([*USUAL, *WHOLE])}")
    given = USUAL[kind] | given
    for name, wanted in MUST.items():
        if given.get(name, wanted) != wanted:
            raise UserError(f"{path}: {name}={given[name]} is not supported, only {wanted} is")
    for name in ("image_size", "patch_size"):
        if not isinstance(given.get(name, 0), int):
            raise UserError(f"{path}: {name}={given[name]} is not supported, only squares are")
    return spec_of(kind, given, path)


def spec_of(kind, given, path):
    """The Spec of one kind with its fields complete."""
    width = given["hidden_size"]
    sizes = (width, given["num_hidden_layers"], given["num_attention_heads"])
    family = kind.split("_")[0]
    default = "gelu_pytorch_tanh" if family.startswith("siglip") else "gelu"
    act = given.get("hidden_act", default)
    if act not in ACTIVATIONS:
        raise UserError(f"{path}: hidden_act={act} is not supported: {', '.join(ACTIVATIONS)}")
    more = {"activation": ACTIVATIONS[act], "epsilon": given.get("layer_norm_eps", 1e-6)}
    hidden = given.get("intermediate_size", 0)
    if family == "dinov2":
        hidden = int(width * given.get("mlp_ratio", 4))
        if given.get("use_swiglu_ffn"):
            hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
            more |= {"gated": True, "activation": "silu"}
        more["biases"] = (given.get("qkv_bias", True),) * 3
    if kind == "dinov2_with_registers":
        more |= {"registers": given["num_register_tokens"], "resampling": "cubic_antialias"}
    if family == "dinov3":
        more |= {
            "registers": given.get("num_register_tokens", 0),
            "gated": given.get("use_gated_mlp", False),
            "rope_base": given.get("rope_theta", 100.0),
            "biases": tuple(
                given.get(f"{name}_bias", name != "key") for name in ("query", "key", "value")
            ),
        }
    elif family == "siglip2":
        more |= {"grid": int(given["num_patches"] ** 0.5), "resampling": "linear_antialias"}
    else:
        more["grid"] = given["image_size"] // given["patch_size"]
    return Spec(family, *sizes, hidden, given["patch_size"], **more)


def find(source, arrays, likeness):
    """The Spec of a file: by the config.json beside it, else the published one that it is like.

    Args:
      source: path of the file.
      arrays: {name: array} of it.
      likeness: (spec, arrays) -> share of the names with their shapes that are those of a spec.
    """
    path = os.path.join(os.path.dirname(source), "config.json")
    if os.path.isfile(path):
        return read(path)
    spec = max(PUBLISHED.values(), key=lambda spec: likeness(spec, arrays))
    if likeness(spec, arrays) < NEARLY:
        raise UserError(
            f"{source} fits none of the published sizes that we know ({', '.join(PUBLISHED)}): "
            "put its config.json beside it, which tells what shapes do not, such as the heads"
        )
    return spec
