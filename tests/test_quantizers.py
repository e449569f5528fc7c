"""Quantizers: what the decoder is given, what teaches the codes, and exact resume with each.

B batch, L positions, G codebooks, K codes, D width.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train_fixtures import assert_same, config_of, leaves, lines

import lam
from lam import train
from lam.errors import UserError
from lam.models import codebooks, quantizers
from lam.ops import fsq

B, L, K, D = 64, 4, 8, 3
LEVELS = (8, 5, 3)


def outputs(seed=0, spread=0.5):
    """Encoder outputs: [B,L,D]."""
    return spread * jax.random.normal(jax.random.key(seed), (B, L, D))


def bound(name, codebooks=L, **fields):
    """A quantizer with random codes, as an object with arrays; and its codebook (None for FSQ)."""
    if name == "fsq":
        return quantizers.FSQ(LEVELS).bind({}), None
    codebook = jax.random.normal(jax.random.key(1), (codebooks, K, D))
    made = quantizers.WITH_CODEBOOK[name](codebooks, K, D, **fields)
    return made.bind({"params": {"codebook": codebook}}), codebook


@pytest.mark.parametrize("name", [*quantizers.WITH_CODEBOOK, "fsq"])
@pytest.mark.parametrize("codebooks", [L, 1])
def test_in_use_the_decoder_is_given_the_codes_of_the_tokens(name, codebooks):
    quantizer, _ = bound(name, codebooks)
    found = quantizer(outputs())
    assert (found.codes.dtype, found.tokens.dtype) == (jnp.float32, jnp.int32)
    np.testing.assert_allclose(found.codes, quantizer.lookup(found.tokens), atol=1e-6)
    if name != "fsq":  # whose codes are no outputs of the encoder
        np.testing.assert_array_equal(quantizer(found.codes).tokens, found.tokens)
    assert len(np.unique(found.tokens)) > 3
    np.testing.assert_array_equal(quantizer.codes(quantizer.latents(outputs())), found.codes)


def test_the_continuous_control_against_the_formulas():
    """Samples have the mean and the spread that z says; the loss is the divergence in nats."""
    z = jnp.concatenate([outputs(), outputs(9)], axis=-1)
    mean, log = np.split(np.asarray(z, np.float64), 2, axis=-1)
    quantizer = quantizers.Gaussian(beta=0.5)
    found = quantizer.apply({}, z)
    assert found.tokens is None
    np.testing.assert_array_equal(found.codes, z[..., :D])
    np.testing.assert_array_equal(quantizer.latents(z), z[..., :D])
    divergence = 0.5 * (mean**2 + np.exp(log) - 1 - log).sum((1, 2)).mean()
    np.testing.assert_allclose(found.loss, 0.5 * divergence, rtol=1e-5)
    draw = jax.vmap(lambda rng: quantizer.apply({}, z, rng).codes)
    samples = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)), np.float64)
    np.testing.assert_allclose(samples.mean(0), mean, atol=6 * np.exp(log / 2).max() / 4000**0.5)
    np.testing.assert_allclose(samples.std(0), np.exp(log / 2), rtol=0.08)
    halved = quantizer.apply({}, z, jax.random.key(1), 0.5).codes - z[..., :D]
    whole = quantizer.apply({}, z, jax.random.key(1)).codes - z[..., :D]
    np.testing.assert_allclose(2 * halved, whole, atol=1e-6)


@pytest.mark.parametrize("name", ["vq", "vq_ema"])
def test_gradient_goes_straight_through_and_losses_pull(name):
    """d codes / dz is one; the loss pulls z to its code, and in `vq` the code to z."""
    _, codebook = bound(name)
    z, made = outputs(), quantizers.WITH_CODEBOOK[name](L, K, D, 0.25)
    apply = lambda z, c: made.apply({"params": {"codebook": c}}, z, jax.random.key(0))  # noqa: E731
    codes_gradient = jax.grad(lambda z: jnp.sum(apply(z, codebook).codes * outputs(3)))(z)
    np.testing.assert_allclose(codes_gradient, outputs(3), atol=1e-6)
    found = apply(z, codebook)
    code = bound(name)[0].lookup(found.tokens)
    error = np.asarray(z - code)
    weights = 0.25 + (name == "vq")
    np.testing.assert_allclose(found.loss, weights * np.mean(error**2), rtol=1e-5)
    to_z, to_code = jax.grad(lambda z, c: apply(z, c).loss, (0, 1))(z, codebook)
    np.testing.assert_allclose(to_z, 0.25 * 2 * error / error.size, rtol=1e-4, atol=1e-9)
    expected = np.zeros(codebook.shape)
    for b, g in np.ndindex(B, L):
        expected[g, found.tokens[b, g]] -= 2 * error[b, g] / error.size
    np.testing.assert_allclose(to_code, expected * (name == "vq"), rtol=1e-4, atol=1e-7)


def test_cosine_looks_at_angles_alone():
    quantizer, codebook = bound("cosine")
    z, scale = outputs(), jnp.exp(jax.random.normal(jax.random.key(5), (B, L, 1)))
    found = quantizer(z)
    np.testing.assert_array_equal(quantizer(scale * z).tokens, found.tokens)
    unit = codebook / np.linalg.norm(codebook, axis=-1, keepdims=True)
    likeness = np.einsum("bld,lkd->blk", z, unit)
    np.testing.assert_array_equal(found.tokens, likeness.argmax(-1))
    np.testing.assert_allclose(np.linalg.norm(found.codes, axis=-1), 1, atol=1e-5)


def test_running_means_against_numpy_and_after_a_restart():
    _, codebook = bound("vq_ema")
    z, kind = outputs(), quantizers.VQEMA
    tokens = bound("vq_ema")[0](z).tokens
    moved, averages = kind.move(codebook, kind.averages(codebook), z, 0.25)
    for g, k in np.ndindex(L, K):
        mine = np.asarray(z[:, g])[np.asarray(tokens[:, g]) == k]
        count = 0.75 + 0.25 * len(mine)
        total = 0.75 * np.asarray(codebook[g, k]) + 0.25 * mine.sum(0)
        np.testing.assert_allclose(averages["count"][g, k], count, rtol=1e-5)
        np.testing.assert_allclose(moved[g, k], total / count, rtol=1e-3, atol=1e-5)
    dead = jnp.zeros((L, K), bool).at[1, 2].set(True)
    fresh = moved.at[1, 2].set(7.0)
    again = kind.restart(averages, dead, fresh)
    np.testing.assert_allclose(again["sum"][1, 2] / again["count"][1, 2], 7.0, rtol=1e-5)
    np.testing.assert_array_equal(again["sum"][0], averages["sum"][0])


def test_nsvq_noise_is_as_long_as_the_error_and_passes_the_gradient():
    z, codes = outputs(), outputs(1)
    q = quantizers.substitute_noise(z, codes, jax.random.key(2))
    lengths, errors = (np.linalg.norm(x, axis=-1) for x in (q - z, z - codes))
    np.testing.assert_allclose(lengths, errors, rtol=1e-4)
    grad_z, grad_codes = jax.grad(
        lambda z, c: jnp.sum(quantizers.substitute_noise(z, c, jax.random.key(2)) ** 2), (0, 1)
    )(z, codes)
    assert np.abs(grad_z).min(axis=(0, 1)).max() > 0
    assert np.linalg.norm(grad_codes) > 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(3, 9), min_size=1, max_size=5), st.integers(0, 99))
def test_fsq_codes_and_indices_are_one_to_one(levels, seed):
    index = np.arange(fsq.size(levels))
    codes = np.asarray(fsq.codes(index, levels))
    np.testing.assert_array_equal(fsq.indices(codes, levels), index)
    assert len(np.unique(codes, axis=0)) == len(index)
    assert np.abs(codes).max() <= 1
    z = 3 * np.random.default_rng(seed).normal(size=(50, len(levels)))
    found = np.asarray(fsq.quantize(jnp.asarray(z), levels))
    assert {tuple(code) for code in found} <= {tuple(code) for code in codes}
    assert not np.any(fsq.quantize(jnp.zeros(len(levels)), levels))


def test_fsq_figures():
    """The gradient of known numbers, the order of digits, the sizes of the table."""
    gradient = jax.grad(lambda z: jnp.sum(fsq.quantize(z, (8, 5))))(jnp.array([0.3, -0.7]))
    np.testing.assert_allclose(gradient, [0.72379, 0.63537], atol=1e-5)
    np.testing.assert_array_equal(fsq.codes(jnp.array([1, 8]), (8, 5)), [[-0.75, -1], [-1, -0.5]])
    sizes = {asked: fsq.size(levels) for asked, levels in fsq.TABLE.items() if asked <= 4096}
    assert sizes == {
        4: 4, 8: 8, 16: 15, 32: 32, 64: 64, 128: 125, 256: 240, 512: 512, 1024: 1000,
        2048: 1920, 4096: 4375,
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in quantizers.NAMES if name != "nsvq"])
def test_training_with_each_resumes_exactly(tabletop, tmp_path, name):
    """Two steps and two more are four at once; the codes are used (nsvq: in test_train.py)."""
    changes = {"model.quantizer": name, "checkpoint_every": 2, "model.reseed_every": 3}
    run = lambda folder, **more: train.train_and_evaluate(  # noqa: E731
        config_of(tabletop["array_record"], total_steps=4, **changes, **more), tmp_path / folder
    )
    run("straight")
    run("resumed", stop_at=2)
    run("resumed")
    assert_same(leaves(tmp_path / "straight", 4), leaves(tmp_path / "resumed", 4))
    rows = lines(tmp_path / "straight")
    assert (rows[0]["quantizer_loss"] > 0) == (name not in ("fsq", "nsvq_lapa"))
    laq = lam.load(tmp_path / "straight")
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 16, 16, 3), np.uint8)
    latents = laq.latents(frames)
    assert latents.shape == (3, 4, laq.task.model.code_width)
    if name == "vae":
        with pytest.raises(UserError, match="has no tokens: use latents"):
            laq.encode(frames)
        return
    assert all(row["codes_alive"] > 0.1 for row in rows)
    tokens = laq.encode(frames)
    assert tokens.shape == (3, 4)
    assert tokens.max() < laq.num_codes == 8
    assert laq.decode(frames[:, 0], tokens).shape == (3, 16, 16, 3)


def test_dying_codes_are_told_during_training(tabletop, tmp_path, capfd, caplog, monkeypatch):
    """A line of health at most ten times a run, a warning with what to do when codes die."""
    config = config_of(tabletop["array_record"], total_steps=3)
    train.train_and_evaluate(config, tmp_path / "well")
    shown = capfd.readouterr().err
    assert "step 3: codes alive 32 of 32, perplexity 8.0 of 8, spread of outputs over" in shown
    assert "codes die" not in caplog.text
    monkeypatch.setattr(codebooks, "USAGE_RATE", 1.0)  # so that a run of three steps tells
    config = config_of(tabletop["array_record"], total_steps=3, **{"model.quantizer": "nsvq_lapa"})
    train.train_and_evaluate(config, tmp_path / "ill")
    assert "reseed_every=50, reseed_until=2000), or lower config.optim.lr" in caplog.text
    assert "codes alive" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.quantizer": "nsvk"}, r"No model\.quantizer 'nsvk'\. Did you mean 'nsvq'"),
        ({"model.quantizer": "fsq", "model.num_codes": 9}, "num_codes=9 has no levels for fsq"),
        ({"model.quantizer": "fsq", "model.levels": (8, 2)}, "gives none of at least 3"),
    ],
)
def test_mistakes(tabletop, change, message):
    with pytest.raises(UserError, match=message):
        train.make_task(config_of(tabletop["array_record"], **change))
