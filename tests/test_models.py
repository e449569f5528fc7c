"""Shapes, sizes and basic behaviour of the latent action quantizer's nets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lam.models.laq import LAQ

SMALL = {"width": 16, "encoder_depth": 1, "decoder_depth": 1, "heads": 2, "code_width": 4}
NETS = {
    "joint": {"encoder": "joint", "patch": 8},
    "lapa": {"encoder": "lapa", "patch": 4, "shared_codebook": True},
}


@pytest.fixture(scope="module", params=NETS)
def net(request):
    """A small net, its weights, two frames [3,32,32,3] and the whole pass, compiled once."""
    model = LAQ(**SMALL, **NETS[request.param])
    frames = jax.random.uniform(jax.random.key(0), (2, 3, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(1), *frames)
    return model, variables, frames, jax.jit(model.apply)


def test_shapes(net):
    model, variables, (first, second), _ = net
    out = jax.eval_shape(model.apply, variables, first, second, jax.random.key(2))
    assert (out.recon.shape, out.recon.dtype) == (first.shape, jnp.float32)
    assert (out.tokens.shape, out.tokens.dtype) == ((3, 4), jnp.int32)
    assert (out.latents.shape, out.latents.dtype) == ((3, 4, 4), jnp.float32)
    assert (out.guided is None) == (model.encoder == "lapa")


def test_tokens_and_decode_agree_with_the_whole_pass(net):
    model, variables, (first, second), whole = net

    @jax.jit
    def apart(variables, first, second):
        _, tokens = model.apply(variables, first, second, method="action")
        return tokens, model.apply(variables, first, tokens, method="decode")

    out = whole(variables, first, second)
    found_tokens, found_recon = apart(variables, first, second)
    np.testing.assert_array_equal(found_tokens, out.tokens)
    np.testing.assert_allclose(found_recon, out.recon, atol=1e-6)


def test_samples_do_not_see_each_other(net):
    _, variables, (first, second), whole = net
    recon = whole(variables, first, second).recon
    other = whole(variables, first.at[1:].set(0.3), second.at[1:].set(0.9)).recon
    np.testing.assert_allclose(recon[0], other[0], atol=1e-5)
    assert np.abs(recon[1:] - other[1:]).max() > 0.01


def test_every_parameter_has_a_gradient(net):
    """Of one training pass; three steps are taken first, as some layers start at zero."""
    model, variables, (first, second), _ = net

    def loss(params):
        out = model.apply({"params": params}, first, second, jax.random.key(3))
        guided = out.recon if out.guided is None else out.guided
        return jnp.mean((out.recon - second) ** 2) + jnp.mean((guided - second) ** 2)

    grad = jax.jit(jax.grad(loss))
    params = variables["params"]
    for _ in range(3):
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grad(params))
    grads = jax.tree_util.tree_leaves_with_path(grad(params))
    # LAPA's summary biases cancel in "second minus first", as they do in the published model
    idle = {jax.tree_util.keystr(path) for path, g in grads if not np.abs(g).max() > 0}
    assert all("summary" in path or "project_in" in path for path in idle), idle


def test_lapa_has_the_published_number_of_parameters():
    """343,796,080 less 24 unused gains (`context_norm` of self-attention, 1024 each)."""
    model = LAQ(
        encoder="lapa", width=1024, encoder_depth=8, decoder_depth=8, heads=16, patch=32,
        shared_codebook=True,
    )  # fmt: skip
    image = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), image, image)
    assert sum(x.size for x in jax.tree.leaves(shapes)) == 343_796_080 - 24 * 1024


def test_bfloat16_compute_keeps_float32_parameters_and_outputs():
    model = LAQ(**SMALL, **NETS["joint"], dtype=jnp.bfloat16)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image, image)
    assert {x.dtype for x in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    out = jax.eval_shape(model.apply, variables, image, image)
    assert out.recon.dtype == out.guided.dtype == out.latents.dtype == jnp.float32
