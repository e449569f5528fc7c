"""Transformer parts shared by the models.

B batch, N tokens, M context tokens, D width, H heads, K width of a head.
"""

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

# regex on the parameter's path -> how its axes lie on the mesh axes ("data", "fsdp", "tensor")
SHARDING = (
    (r"(query|key|value|up|gate)/kernel$", P("fsdp", "tensor")),
    (r"(out|down)/kernel$", P("tensor", "fsdp")),
)


def norm(name, epsilon=1e-6, **kwargs):
    """LayerNorm in float32 whatever the compute type."""
    return nn.LayerNorm(epsilon=epsilon, dtype=jnp.float32, name=name, **kwargs)


def split_heads(x_BND, heads):
    batch, length, width = x_BND.shape
    return x_BND.reshape(batch, length, heads, width // heads)


def attend(q_BNHK, k_BMHK, v_BMHK, scale, bias_HNM=None):
    """Softmax attention, logits and weights in float32; returns [B,N,H*K] in the type of v."""
    logits_BHNM = jnp.einsum("bnhk,bmhk->bhnm", q_BNHK, k_BMHK, preferred_element_type=jnp.float32)
    logits_BHNM = logits_BHNM * scale
    if bias_HNM is not None:
        logits_BHNM = logits_BHNM + bias_HNM
    weights_BHNM = nn.softmax(logits_BHNM, axis=-1).astype(v_BMHK.dtype)
    out_BNHK = jnp.einsum("bhnm,bmhk->bnhk", weights_BHNM, v_BMHK)
    return out_BNHK.reshape(*out_BNHK.shape[:2], -1)


class Attention(nn.Module):
    """Multi-head self-attention without biases, queries and keys normalised (ViT-22B)."""

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BND):
        width = x_BND.shape[-1]
        dense = functools.partial(nn.Dense, width, use_bias=False, dtype=self.dtype)
        q, k, v = (
            split_heads(dense(name=name)(x_BND), self.heads) for name in ("query", "key", "value")
        )
        q = nn.RMSNorm(dtype=jnp.float32, name="query_norm")(q).astype(self.dtype)
        k = nn.RMSNorm(dtype=jnp.float32, name="key_norm")(k).astype(self.dtype)
        return dense(name="out")(attend(q, k, v, q.shape[-1] ** -0.5))


class MLP(nn.Module):
    """Two layers with squared ReLU (Primer), much cheaper than GELU on a CPU."""

    hidden: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BND):
        hidden = jnp.square(nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="up")(x_BND)))
        return nn.Dense(x_BND.shape[-1], dtype=self.dtype, name="down")(hidden)


@dataclasses.dataclass(frozen=True)
class Stack:
    """How blocks are put on one another: not what they compute, but what it costs.

    Attributes:
      remat: activations within a block are not kept for the gradient but computed again.
      scan: one program for all blocks, whose parameters lie in one array with a leading axis
        ("blocks" instead of "block_0", ...): compiles in the time of one.
    """

    remat: bool = False
    scan: bool = False

    def __call__(self, make, depth, x, *rest):
        """x after `depth` blocks make(name=...)(x, *rest), parameters of the module that calls."""
        if self.remat:
            kind, options = make.func, make.keywords
            make = functools.partial(nn.remat(kind, prevent_cse=not self.scan), **options)
        if not self.scan:
            for i in range(depth):
                x = make(name=f"block_{i}")(x, *rest)
            return x
        step = nn.scan(
            lambda block, x, *rest: (block(x, *rest), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=depth,
        )
        return step(make(name="blocks"), x, *rest)[0]


class Block(nn.Module):
    """Pre-norm block of attention and MLP."""

    heads: int
    mlp_ratio: float = 4.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x_BND):
        normed = norm("attention_norm")(x_BND).astype(self.dtype)
        x_BND = x_BND + Attention(self.heads, self.dtype, name="attention")(normed)
        normed = norm("mlp_norm")(x_BND).astype(self.dtype)
        hidden = int(x_BND.shape[-1] * self.mlp_ratio)
        return x_BND + MLP(hidden, self.dtype, name="mlp")(normed)
