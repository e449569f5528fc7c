"""Our layers against torch's, with the same random weights (launch/test.sh --oracles).

B batch, N tokens, M context tokens, D width, A heads, K width of a head.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import common
from lam import optim
from lam.models import codebooks, lapa_parts, quantizers
from lam.ops import fsq

pytestmark = pytest.mark.oracle
if not os.environ.get("LAM_ORACLES"):
    pytest.skip("needs torch: bash launch/test.sh --oracles", allow_module_level=True)

import torch  # noqa: E402
import vector_quantize_pytorch  # noqa: E402
from torch.nn import functional  # noqa: E402

B, N, M, D, A, K = 3, 16, 4, 32, 2, lapa_parts.HEAD_WIDTH


def random_params(module, *inputs):
    """Parameters of a Flax module, all random, also those that start at zero or one."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    values = [0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, values)


def torched(tree):
    return jax.tree.map(lambda x: torch.tensor(np.asarray(x)), tree)


def normal(*shape, seed=2):
    return jax.random.normal(jax.random.key(seed), shape)


def assert_close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


def torch_attention(p, x, context, bias):
    """LAPA's cosine attention, from its description, in torch's own operations."""
    gain_norm = lambda name, t: functional.layer_norm(t, t.shape[-1:], p[name]["scale"])  # noqa: E731
    heads = lambda t: t.reshape(*t.shape[:2], A, K).transpose(1, 2)  # noqa: E731
    normed = gain_norm("norm", x)
    source = normed if context is None else gain_norm("context_norm", context)
    q = heads(normed @ p["query"]["kernel"])
    k, v = (heads(source @ p[name]["kernel"]) for name in ("key", "value"))
    if context is not None:
        null = p["null_kv"].transpose(1, 2).unsqueeze(1).expand(2, len(x), A, 2, K)
        k, v = (torch.cat([null[i], t], dim=2) for i, t in enumerate((k, v)))
    q = functional.normalize(q, dim=-1) * p["q_scale"]
    k = functional.normalize(k, dim=-1) * p["k_scale"]
    mask = None if bias is None else bias.unsqueeze(0)
    out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=8.0)
    return out.transpose(1, 2).reshape(*x.shape[:2], A * K) @ p["out"]["kernel"]


@pytest.mark.parametrize("cross", [False, True])
def test_lapa_attention(cross):
    x, context = normal(B, N, D), normal(B, M, D, seed=3) if cross else None
    bias = None if cross else normal(A, N, N, seed=4)
    module = lapa_parts.Attention(A, jnp.float32)
    params = random_params(module, x, bias, context)
    ours = module.apply({"params": params}, x, bias, context)
    theirs = torch_attention(*torched((params, x, context, bias)))
    assert_close(ours, theirs)


def test_lapa_feed_forward():
    x, module = normal(B, N, D), lapa_parts.FeedForward(jnp.float32)
    params = random_params(module, x)
    p, t = torched((params, x))
    t = functional.layer_norm(t, (D,), p["norm"]["scale"], p["norm"]["bias"])
    value, gate = (t @ p["up"]["kernel"]).chunk(2, dim=-1)
    theirs = (functional.gelu(gate) * value) @ p["down"]["kernel"]
    assert_close(module.apply({"params": params}, x), theirs)


def test_lapa_position_generator_is_a_causal_depthwise_convolution():
    x, module = normal(B, 2, 4, 4, D), lapa_parts.PositionGenerator(jnp.float32)
    params = random_params(module, x)
    p, t = torched((params["Conv_0"], x))
    padded = functional.pad(t.permute(0, 4, 1, 2, 3), (1, 1, 1, 1, 2, 0))
    theirs = functional.conv3d(padded, p["kernel"].permute(4, 3, 0, 1, 2), p["bias"], groups=D)
    assert_close(module.apply({"params": params}, x), theirs.permute(0, 2, 3, 4, 1))


def test_nearest_codes():
    z, codebook = normal(B * N, 4, 8), normal(4, 8, 8, seed=5)
    distances = torch.cdist(*torched((z.swapaxes(0, 1), codebook)))
    np.testing.assert_array_equal(codebooks.nearest(z, codebook).T, distances.argmin(-1))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_optimizer(name):
    """Ten steps with clipping and a constant rate against torch's AdamW."""
    config = common.get_config().optim
    config.update(name=name, schedule="constant", warmup_steps=0, clip_norm=0.5, weight_decay=0.1)
    optimizer, _ = optim.make(config, total_steps=10)
    params = {"kernel": normal(4, 5)}
    weight = torch.nn.Parameter(torched(params["kernel"]))
    decay = config.weight_decay if name == "adamw" else 0.0
    reference = torch.optim.AdamW(
        [weight], lr=config.lr, betas=(config.b1, config.b2), eps=config.eps, weight_decay=decay
    )
    state = optimizer.init(params)
    for i in range(10):
        grad = normal(4, 5, seed=10 + i)
        updates, state = optimizer.update({"kernel": grad}, state, params)
        params = optax.apply_updates(params, updates)
        weight.grad = torched(grad)
        torch.nn.utils.clip_grad_norm_([weight], config.clip_norm)
        reference.step()
    assert_close(params["kernel"], weight)


@pytest.mark.parametrize("asked", [8, 16, 64, 256, 512, 1024, 2048, 4096])
def test_fsq_agrees(asked):
    """Indices are equal, codes within 1e-6, also back from indices."""
    levels = fsq.TABLE[asked]
    peer = vector_quantize_pytorch.FSQ(list(levels))
    z = 2 * normal(B, 200, len(levels))
    codes, indices = peer(torched(z))
    ours = fsq.quantize(z, levels)
    assert_close(ours, codes, 1e-6)
    np.testing.assert_array_equal(fsq.indices(ours, levels), indices.numpy())
    assert_close(fsq.codes(indices.numpy(), levels), codes, 1e-6)


def vq_peer(codebook, **options):
    """Their quantizer of one codebook, training, with the codes and running means given."""
    peer = vector_quantize_pytorch.VectorQuantize(
        dim=codebook.shape[-1],
        codebook_size=codebook.shape[-2],
        threshold_ema_dead_code=0,
        **options,
    )
    book = peer._codebook
    book.embed.data.copy_(torched(codebook))
    if hasattr(book, "embed_avg"):
        book.embed_avg.data.copy_(torched(codebook))
        book.cluster_size.data.fill_(1.0)
    return peer.train()


def test_running_codes_agree():
    """Tokens, codes, commitment loss and the codebook after two steps of VQ with running means."""
    codebook, kind = normal(1, 8, 5, seed=4), quantizers.VQEMA
    peer = vq_peer(codebook, decay=0.8, commitment_weight=0.25)
    averages = kind.averages(codebook)
    for seed in (5, 6):
        z = normal(B, N, 5, seed=seed)
        found = kind(1, 8, 5, 0.25).apply({"params": {"codebook": codebook}}, z, jax.random.key(0))
        codes, tokens, loss = peer(torched(z))
        np.testing.assert_array_equal(found.tokens, tokens.numpy())
        assert_close(found.codes, codes)
        assert_close(found.loss, loss.sum())
        codebook, averages = kind.move(codebook, averages, z, 0.2)
        assert_close(codebook, peer._codebook.embed)


def test_cosine_codes_agree():
    codebook = normal(1, 8, 5, seed=4)
    unit = codebook / jnp.linalg.norm(codebook, axis=-1, keepdims=True)
    peer = vq_peer(unit, use_cosine_sim=True).eval()
    z = normal(B, N, 5, seed=5)
    found = quantizers.Cosine(1, 8, 5).apply({"params": {"codebook": codebook}}, z)
    codes, tokens, _ = peer(torched(z))
    np.testing.assert_array_equal(found.tokens, tokens.numpy())
    assert_close(found.codes, codes)
