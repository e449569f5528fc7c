"""LAPA's latent action quantizer (LatentActionPretraining/LAPA): its names <-> our tree.

`MODULES` and `LAYERS` say all: a part of our tree and the same in LAPA. Kernels are [O,I,...] there
and [...,I,O] here; keys and values are one matrix there; its null keys and values are rows k,v,k,v.
Published files may carry "module." before every name.

LAPA's module holds more than it uses, and we do not hold that: of self-attention the gains
`context_norm.gamma` and the empty `null_kv`, and of every norm without bias a buffer `beta` of
zeros. A file for LAPA has them at their initial values, ones and zeros, where training leaves them.
"""

import math
import os
import re

import jax
import jax.numpy as jnp
import numpy as np

from lam.convert import files, table
from lam.errors import UserError
from lam.models import laq_weights, weights
from lam.models.lapa import HALF_GRIDS
from lam.models.lapa_parts import HEAD_WIDTH
from lam.models.laq import LAQ

MODULES = {
    "net/patch_norm": "to_patch_emb_first_frame.1",
    "net/patch_dense": "to_patch_emb_first_frame.2",
    "net/embed_norm": "to_patch_emb_first_frame.3",
    "net/position_bias/Dense_0": "spatial_rel_pos_bias.net.0.0",
    "net/position_bias/Dense_1": "spatial_rel_pos_bias.net.1.0",
    "net/position_bias/Dense_2": "spatial_rel_pos_bias.net.2",
    "net/project_in": "vq.project_in",
    "net/project_out": "vq.project_out",
    "net/summary_1": "vq.cnn_encoder.0",
    "net/summary_2/Conv_0": "vq.cnn_encoder.2",
    "net/to_pixels": "to_pixels_first_frame.0",
}
STACKS = ("enc_spatial", "enc_temporal", "dec_spatial")
ATTENTION = {
    "norm/scale": "norm.gamma", "context_norm/scale": "context_norm.gamma",
    "query/kernel": "to_q.weight", "key/kernel": "to_kv.weight", "value/kernel": "to_kv.weight",
    "out/kernel": "to_out.weight", "null_kv": "null_kv", "q_scale": "q_scale", "k_scale": "k_scale",
}  # fmt: skip
LAYERS = {  # {module of a block: (its number in LAPA's, {array: the same in LAPA})}
    "position": (0, {"Conv_0/kernel": "dsconv.weight", "Conv_0/bias": "dsconv.bias"}),
    "self": (1, ATTENTION),
    "cross": (2, ATTENTION),
    "mlp": (3, {
        "norm/scale": "0.weight", "norm/bias": "0.bias", "up/kernel": "1.weight",
        "down/kernel": "4.weight",
    }),
}  # fmt: skip
LAYER = re.compile(rf"net/({'|'.join(STACKS)})/block_(\d+)/({'|'.join(LAYERS)})/(.+)")
TELLING = (
    "to_patch_emb_first_frame.2.weight", "spatial_rel_pos_bias.net.2.weight", "vq.codebooks"
)  # fmt: skip
SELF_ATTENTION = re.compile(r"\w+_transformer\.layers\.\d+\.1\.to_q\.weight")
KERNELS = {1: (4, 4), 2: (3, 4), 4: (3, 3), 16: (3, 3), 64: None, 256: None}  # of vq.cnn_encoder.2
NEEDED = {  # of a model that LAPA's module can hold
    "encoder": "lapa", "quirks": True, "quantizer": "nsvq", "shared_codebook": True,
    "flow_depth": 0, "action_dims": 0, "scan_layers": False,
}  # fmt: skip


def foreign_name(path):
    """LAPA's name of an array of ours ("net/patch_norm/scale"); key and value have the same."""
    if path == "bottleneck/codebook":
        return "vq.codebooks"
    layer = LAYER.fullmatch(path)
    if not layer:
        module, leaf = path.rsplit("/", 1)
        if module.endswith("/norm_out"):
            return f"{module.split('/')[1]}_transformer.norm_out.gamma"
        return f"{MODULES[module]}.{table.LEAVES[leaf]}"
    stack, number, kind, rest = layer.groups()
    place, arrays = LAYERS[kind]
    return f"{stack}_transformer.layers.{number}.{place}.{arrays[rest]}"


def to_theirs(path, x):
    """An array of ours as LAPA keeps it."""
    if path.endswith("null_kv"):
        return x.transpose(2, 1, 0, 3).reshape(x.shape[2], -1, x.shape[3])
    if path == "bottleneck/codebook":
        return x[0]
    if path.endswith("/kernel"):
        return x.transpose(x.ndim - 1, x.ndim - 2, *range(x.ndim - 2))
    return x


def to_ours(path, x):
    """An array of LAPA's as we keep it, the inverse of `to_theirs`."""
    if path.endswith("null_kv"):
        return x.reshape(x.shape[0], -1, 2, x.shape[2]).transpose(2, 1, 0, 3)
    if path == "bottleneck/codebook":
        return x[None]
    if path.endswith(("key/kernel", "value/kernel")):
        x = np.split(x, 2)[path.endswith("value/kernel")]
    if path.endswith("/kernel"):
        return x.transpose(*range(2, x.ndim), 1, 0)
    return x


def from_tree(params):
    """Our tree -> {LAPA's name: array} with all that LAPA's module holds; also under eval_shape."""
    parts = {}
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        path = jax.tree_util.keystr(path, simple=True, separator="/")
        parts.setdefault(foreign_name(path), []).append(to_theirs(path, x))
    found = {name: x[0] if len(x) == 1 else jnp.concatenate(x) for name, x in parts.items()}
    for query in filter(SELF_ATTENTION.fullmatch, list(found)):
        inner, width = found[query].shape
        prefix = query.removesuffix("to_q.weight")
        found[f"{prefix}null_kv"] = jnp.zeros((inner // HEAD_WIDTH, 0, HEAD_WIDTH))
        found[f"{prefix}context_norm.gamma"] = jnp.ones(width)
    gammas = [name for name in found if name.endswith(".gamma")]
    return found | {f"{n.removesuffix('gamma')}beta": jnp.zeros_like(found[n]) for n in gammas}


def model_of(arrays, image_size, source):
    """The LAQ whose arrays these are, by their shapes; UserError where it cannot be told."""
    shapes = [getattr(arrays.get(name), "shape", ()) for name in TELLING]
    if any(len(shape) != 2 for shape in shapes):
        raise UserError(
            f"{source} is no quantizer of LAPA's, which has matrices {', '.join(TELLING)}"
        )
    (width, pixels), (heads, _), (num_codes, code_width) = shapes
    depths = {
        stack: len({n.split(".")[2] for n in arrays if n.startswith(f"{stack}_transformer.layers")})
        for stack in STACKS
    }
    if len(set(depths.values())) != 1:
        told = ", ".join(f"{stack} {depth}" for stack, depth in depths.items())
        raise UserError(f"{source}: the transformers must be equally deep, but are: {told}")
    patch, depth = max(math.isqrt(pixels // 3), 1), depths["enc_spatial"]
    return LAQ(
        **NEEDED, num_tokens=tokens_of(arrays, image_size, patch, source), num_codes=num_codes,
        code_width=code_width, width=width, encoder_depth=depth, decoder_depth=depth, heads=heads,
        patch=patch,
    )  # fmt: skip


def tokens_of(arrays, image_size, patch, source):
    """num_tokens, by the last convolution and the patch grid; UserError if none was published."""
    last = arrays.get("vq.cnn_encoder.2.weight")
    kernel = last if last is None else last.shape[2:]
    half = math.ceil(image_size / patch / 2)
    known = [n for n, side in HALF_GRIDS.items() if (KERNELS[n], side) == (kernel, half)]
    if image_size % patch or not known:
        told = "no last convolution" if kernel is None else f"a last convolution of {list(kernel)}"
        raise UserError(
            f"{source} has patches of {patch} pixels and {told}, which does not suit images of "
            f"{image_size} pixels: give the --image_size that it was trained with"
        )
    return known[0]


def to_tree(arrays, image_size=256, source="the table"):
    """{LAPA's name: numpy array} -> (LAQ, our tree of numpy arrays).

    Args:
      image_size: pixels of a side in training, which the arrays do not tell.

    Raises:
      UserError: names are missing, unexpected or of another shape; one line, with the names.
    """
    arrays = {name.removeprefix("module."): x for name, x in arrays.items()}
    model = model_of(arrays, image_size, source)
    ours = laq_weights.shapes(model, image_size)
    weights.check(arrays, jax.eval_shape(from_tree, ours), f"{source} as LAPA's quantizer")
    biased = [name for name, x in arrays.items() if name.endswith(".beta") and np.any(x)]
    if biased:
        raise UserError(f"{source}: {weights.shorten(biased)} must be zero, and are not")
    flat = {path: to_ours(path, arrays[foreign_name(path)]) for path in weights.flatten(ours)}
    return model, weights.nest(flat)


def check_exportable(model, source):
    """UserError unless LAPA's module can hold such a model."""
    told = laq_weights.facts(model)
    needed = {**NEEDED, "decoder_depth": model.encoder_depth}
    other = [f"{k}={told[k]} but {v}" for k, v in needed.items() if told[k] != v]
    if other or model.num_tokens not in KERNELS:
        other = other or [f"num_tokens={model.num_tokens}"]
        raise UserError(f"{source}: LAPA's module has no {', no '.join(other)}")


def convert(source, target, image_size=256, dtype=""):
    """LAPA's names to ours where `target` is .safetensors, ours to LAPA's elsewhere; a text.

    Args:
      source: a file of LAPA's of any kind, or of ours (see `lam.models.laq_weights`).
      image_size: of a file of LAPA's: pixels of a side in training. Ours tell it themselves.
      dtype: "float16" or "float32" for all numbers; "" = float32.
    """
    back = files.check_suffix(target) != ".safetensors"
    dtype = dtype or "float32"
    if back:
        if files.check_suffix(source) != ".safetensors":
            raise UserError(f"{source}: to LAPA's names it must be a .safetensors file of ours")
        model, image_size, params, _ = laq_weights.read(source)
        check_exportable(model, source)
        found = from_tree(params)
        files.write(target, {name: np.asarray(x, dtype) for name, x in found.items()})
    else:
        model, params = to_tree(files.read(source), image_size, source)
        about = {"source": os.path.basename(source)}
        laq_weights.write(target, params, model, image_size, dtype, about)
    numbers = sum(x.size for x in jax.tree.leaves(params))
    names = "LAPA's names" if back else "our names"
    return (
        f"{target}: {names}, {numbers:,} parameters, width {model.width}, depth "
        f"{model.encoder_depth}, {model.heads} heads, {model.num_tokens} tokens of "
        f"{model.num_codes} codes, images of {image_size}x{image_size} in patches of {model.patch}"
    )
