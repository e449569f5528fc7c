"""Vision transformers whose features are used as they are: DINOv2, DINOv3 and SigLIP.

One implementation for all, to the letter of Hugging Face's `transformers` (Dinov2Model,
Dinov2WithRegistersModel, DINOv3ViTModel, the vision halves of SiglipModel and Siglip2Model); what
differs stands in a `Spec`. Papers: Oquab et al. 2023, Darcet et al. 2023, Simeoni et al. 2025, Zhai
et al. 2023, Tschannen et al. 2025.

B batch, H W pixels, h w patches, N tokens, R tokens in front of the patches, D width, K width of a
head, X hidden width of the MLP.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from lam.errors import UserError
from lam.models import transformer
from lam.models.patches import patchify
from lam.models.vit_specs import FAMILIES, Spec
from lam.ops.resize import resize

ACTIVATIONS = {
    "gelu": functools.partial(nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(nn.gelu, approximate=True),
    "silu": nn.silu,
}


class Features(NamedTuple):
    """What a tower sees, after its last norm."""

    patches: jax.Array  # float32 [B,h,w,D]
    cls: jax.Array | None  # float32 [B,D], None for SigLIP


class Attention(nn.Module):
    """Multi-head self-attention; `turns`: (cos, sin) float32 [N,1,K] that rotate q and k."""

    spec: Spec
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BND, turns=None):
        dense = functools.partial(nn.Dense, self.spec.width, dtype=self.dtype)
        q, k, v = (
            transformer.split_heads(dense(use_bias=bias, name=name)(x_BND), self.spec.heads)
            for name, bias in zip(("query", "key", "value"), self.spec.biases, strict=True)
        )
        if turns is not None:
            q, k = (rotate(x, *turns).astype(self.dtype) for x in (q, k))
        return dense(name="out")(transformer.attend(q, k, v, q.shape[-1] ** -0.5))


class MLP(nn.Module):
    """Two layers, or three where one of them gates (SwiGLU)."""

    spec: Spec
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BND):
        dense = functools.partial(nn.Dense, dtype=self.dtype)
        act, x_BNX = ACTIVATIONS[self.spec.activation], dense(self.spec.hidden, name="up")(x_BND)
        if self.spec.gated:
            x_BNX = act(dense(self.spec.hidden, name="gate")(x_BND)) * x_BNX
        else:
            x_BNX = act(x_BNX)
        return dense(self.spec.width, name="down")(x_BNX)


class Block(nn.Module):
    """Pre-norm block; the DINOs scale what each half adds (LayerScale)."""

    spec: Spec
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x_BND, turns=None):
        normed = norm(self.spec, "attention_norm")(x_BND).astype(self.dtype)
        out = Attention(self.spec, self.dtype, name="attention")(normed, turns)
        x_BND = x_BND + self.scaled("attention_scale", out)
        normed = norm(self.spec, "mlp_norm")(x_BND).astype(self.dtype)
        return x_BND + self.scaled("mlp_scale", MLP(self.spec, self.dtype, name="mlp")(normed))

    def scaled(self, name, x_BND):
        x_BND = x_BND.astype(jnp.float32)
        if not FAMILIES[self.spec.family].layer_scale:
            return x_BND
        return x_BND * self.param(name, nn.initializers.ones, x_BND.shape[-1:])


class ViT(nn.Module):
    """Images float32 [B,H,W,3] in [0,1], RGB, H and W multiples of the patch -> Features.

    The stream between the blocks, norms and softmax are float32; `dtype` is of the rest.
    """

    spec: Spec
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image_BHWC):
        spec, family = self.spec, FAMILIES[self.spec.family]
        height, width = check_size(spec, *image_BHWC.shape[1:3])
        mean, std = (jnp.array(x, jnp.float32) for x in (family.mean, family.std))
        patches_BhwP = patchify((image_BHWC - mean) / std, spec.patch)
        x_BND = nn.Dense(spec.width, dtype=self.dtype, name="embed")(patches_BhwP)
        x_BND = rearrange(x_BND.astype(jnp.float32), "b h w d -> b (h w) d")
        start = nn.initializers.normal(0.02)
        if family.cls:
            cls_D = self.param("cls", start, (spec.width,))
            x_BND = in_front(cls_D[None], x_BND)
            self.param("mask", start, (spec.width,))  # of pre-training; so that files go back whole
        if spec.grid:
            shape = (family.cls + spec.grid**2, spec.width)
            x_BND = x_BND + positions(self.param("position", start, shape), spec, height, width)
        if spec.registers:
            registers_RD = self.param("registers", start, (spec.registers, spec.width))
            cls_B1D, x_BND = jnp.split(x_BND, [1], axis=1)
            x_BND = jnp.concatenate([cls_B1D, in_front(registers_RD, x_BND)], axis=1)
        turns = None if spec.grid else rotations(spec, height, width)
        for i in range(spec.depth):
            x_BND = Block(spec, self.dtype, name=f"block_{i}")(x_BND, turns)
        x_BND = norm(spec, "norm")(x_BND)
        patches_BhwD = rearrange(x_BND[:, prefix(spec) :], "b (h w) d -> b h w d", h=height)
        return Features(patches_BhwD, x_BND[:, 0] if family.cls else None)


def norm(spec, name):
    """LayerNorm by the exact variance: some channels of these nets are very large."""
    return transformer.norm(name, spec.epsilon, use_fast_variance=False)


def prefix(spec):
    """R, the number of tokens in front of the patches."""
    return FAMILIES[spec.family].cls + spec.registers


def in_front(token_RD, x_BND):
    token_BRD = jnp.broadcast_to(token_RD, (len(x_BND), *token_RD.shape))
    return jnp.concatenate([token_BRD, x_BND], axis=1)


def positions(position_ND, spec, height, width):
    """Learned positions, those of patches resampled to the grid of the input: [R+h*w,D]."""
    cls_RD, patches_ND = jnp.split(position_ND, [len(position_ND) - spec.grid**2])
    grid_1hwD = patches_ND.reshape(1, spec.grid, spec.grid, -1)
    grid_1hwD = resize(grid_1hwD, height, width, spec.resampling)
    return jnp.concatenate([cls_RD, grid_1hwD.reshape(height * width, -1)])


def rotations(spec, height, width):
    """(cos, sin) of every token, float32 [R+h*w,1,K]; the tokens in front do not turn.

    A quarter of the channels goes with y, a quarter with x, both from -1 to 1 over the image.
    """
    y, x = (2 * (np.arange(n) + 0.5) / n - 1 for n in (height, width))
    place_N2 = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    share_K = np.arange(0, 1, 4 * spec.heads / spec.width)
    angle_NK = (2 * np.pi * place_N2[:, :, None] * spec.rope_base**-share_K).reshape(
        len(place_N2), -1
    )
    angle_NK = np.pad(np.tile(angle_NK, 2), ((prefix(spec), 0), (0, 0)))[:, None]
    return np.cos(angle_NK).astype(np.float32), np.sin(angle_NK).astype(np.float32)


def rotate(x_BNHK, cos_N1K, sin_N1K):
    """Turns the pairs (i, i + K/2) of channels, in float32."""
    first, second = jnp.split(x_BNHK.astype(jnp.float32), 2, axis=-1)
    turned_BNHK = jnp.concatenate([-second, first], axis=-1)
    return x_BNHK * cos_N1K + turned_BNHK * sin_N1K


def check_size(spec, height, width):
    """(h, w), the patches of an image; UserError where they do not cover it."""
    if min(height, width) < spec.patch or height % spec.patch or width % spec.patch:
        raise UserError(
            f"this tower has patches of {spec.patch} pixels, and an image of {height}x{width} is "
            f"not made of them: choose a multiple of {spec.patch}"
        )
    return height // spec.patch, width // spec.patch


def shapes(spec):
    """{"params": ...} of a tower as shapes."""
    image = jax.ShapeDtypeStruct((1, spec.patch, spec.patch, 3), jnp.float32)
    return jax.eval_shape(ViT(spec).init, jax.random.key(0), image)


def features(spec, variables, image_BHWC, size=0, dtype=jnp.float32):
    """Features of images float32 [B,H,W,3] in [0,1], resampled to size x size pixels (0: as is).

    Resampling is bilinear with antialias, which does not leave [0,1].
    """
    if size:
        image_BHWC = resize(image_BHWC, size, size, "linear_antialias")
    return ViT(spec, dtype).apply(variables, image_BHWC)
