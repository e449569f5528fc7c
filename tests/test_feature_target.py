"""The feature target of LAQ: a decoder learns what a frozen tower sees in frame 2."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from train_fixtures import assert_same, config_of, leaves, lines
from vit_fixtures import TINY, write_tower

import lam
from lam import tower, train
from lam.errors import UserError
from lam.tasks import feature_target

SPEC = dataclasses.replace(TINY["dinov3"], depth=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file of random weights that tell patches apart."""
    return write_tower(tmp_path_factory.mktemp("tower") / "t.safetensors", SPEC)


def section(file, **changes):
    usual = {"tower": str(file), "weight": 1.0, "perceptual": 0.0, "warmup": 0, "size": 12}
    return usual | {"depth": 1} | changes


def fields(file, **changes):
    return {f"features.{k}": v for k, v in section(file, **changes).items()}


def frames(seed=0):
    return np.random.default_rng(seed).random((2, 3, 16, 16, 3)).astype(np.float32)


def test_features_are_those_of_the_tower_normalised_patch_by_patch(file):
    target = feature_target.make(section(file), jnp.float32)
    first, second = frames()
    for image, found in zip(
        (first, second), target.pair(target.read(), first, second), strict=True
    ):
        raw = np.asarray(tower.load(file)(image, 12).patches)
        mean, std = raw.mean(axis=-1, keepdims=True), raw.std(axis=-1, keepdims=True)
        np.testing.assert_allclose(found, (raw - mean) / std, atol=2e-5)
        assert found.shape == (3, *target.shape())


def test_losses_against_numpy(file):
    """Squared errors of normalised features; a copy of frame 1 counts as 1; both grow together."""
    target = feature_target.make(section(file, weight=2.0, perceptual=3.0, warmup=4), jnp.float32)
    variables, (first, second) = target.read(), frames()
    drawn = frames(1)[0]
    features = target.pair(variables, first, second)
    ones, twos = (np.asarray(x) for x in features)
    three = np.asarray(target.see(variables, drawn))
    said = np.random.default_rng(2).normal(size=twos.shape).astype(np.float32)
    errors = [np.mean((x - twos) ** 2) for x in (said, three)]
    out = lambda x, y: type("Pass", (), {"features": x, "recon": y})  # noqa: E731
    for steps, factor in [(0, 0.25), (9, 1.0)]:
        loss, metrics = target.loss(variables, out(said, drawn), features, steps)
        np.testing.assert_allclose(loss, factor * (2 * errors[0] + 3 * errors[1]), rtol=1e-4)
    np.testing.assert_allclose(metrics["feature_loss"], errors[0], rtol=1e-4)
    np.testing.assert_allclose(metrics["perceptual"], errors[1], rtol=1e-4)
    _, metrics = target.loss(variables, out(ones, jnp.asarray(first)), features, 0)
    np.testing.assert_allclose(metrics["feature_loss_over_copy"], 1, rtol=1e-4)
    np.testing.assert_allclose(metrics["perceptual_over_copy"], 1, rtol=1e-4)
    loss, _ = target.loss(variables, out(twos, jnp.asarray(second)), features, 9)
    assert loss < 1e-6


KINDS = {  # changes, metrics
    "predicted": ({}, {"feature_loss", "feature_loss_over_copy"}),
    "perceptual": (
        {"features.weight": 0.0, "features.perceptual": 1.0},
        {"perceptual", "perceptual_over_copy"},
    ),
    "encoder": ({"features.weight": 0.0, "model.encoder": "features"}, set()),
}
RECONSTRUCTION = {"evals.reconstruction.type": "reconstruction", "evals.reconstruction.batches": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_training_resumes_and_keeps_the_tower_out_of_the_checkpoint(tabletop, file, tmp_path, kind):
    """Two steps and two more are four, and evaluate; lam.load needs a tower only to see by it."""
    changes, metrics = KINDS[kind]
    changes = {"checkpoint_every": 2, **fields(file), **RECONSTRUCTION, **changes}
    run = lambda name, **more: train.train_and_evaluate(  # noqa: E731
        config_of(tabletop["array_record"], total_steps=4, **changes, **more), tmp_path / name
    )
    results = run("straight")
    assert {"reconstruction/psnr_over_copy", "reconstruction/delta_psnr"} <= set(results)
    run("resumed", stop_at=2)
    assert run("resumed") == results
    whole = leaves(tmp_path / "straight", 4)
    assert_same(whole, leaves(tmp_path / "resumed", 4))
    assert any("feature_decoder" in name for name in whole) == (kind == "predicted")
    assert not any("register" in name for name in whole), "the tower's weights were saved"
    rows = [row for row in lines(tmp_path / "straight") if "loss" in row]
    assert {k for row in rows for k in row if k.startswith(("feature_", "perceptual"))} == metrics
    assert all(row[name] > 0 for row in rows for name in metrics)
    levels = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
    with away(file) if kind != "encoder" else contextlib.nullcontext():
        laq = lam.load(tmp_path / "straight")
        tokens = laq.encode(levels)
        assert laq.decode(levels[:, 0], tokens).shape == (2, 16, 16, 3)
        if kind != "encoder":
            laq.save(tmp_path / "laq.safetensors")
            np.testing.assert_array_equal(
                lam.load(tmp_path / "laq.safetensors").encode(levels), tokens
            )
    if kind == "encoder":
        with pytest.raises(UserError, match="one file cannot hold all of it: keep the workdir"):
            laq.save(tmp_path / "laq.safetensors")
        with away(file), pytest.raises(UserError, match=r"there is no file .* of a tower"):
            lam.load(tmp_path / "straight")


@contextlib.contextmanager
def away(file):
    """The file is not there for a while."""
    moved = file.rename(file.with_name("away.safetensors"))
    try:
        yield
    finally:
        moved.rename(file)


def test_an_encoder_that_sees_by_the_tower(tabletop, file):
    """Its codebook starts on its outputs, other looks to the encoder alone reach it, and every
    parameter learns."""
    changes = {**fields(file, weight=0.0), "model.encoder": "features", "augment.colour": 0.5}
    config = config_of(tabletop["array_record"], **changes, **{"augment.apart": True})
    task = train.make_task(config)
    frozen, frames = task.frozen(), next(train.make_loader(config))["frames"]
    batch = {"frames": frames}
    params, extra = jax.jit(task.init)(jax.random.key(0), batch, frozen)
    variables = {"params": params, "frozen": frozen, "extra": {}}
    latents = jax.jit(task.latents)(variables, batch)["latents"]
    np.testing.assert_allclose(latents, extra["recent"], atol=1e-5)
    swapped = jax.jit(task.latents)(variables, {"frames": frames[:, ::-1]})["latents"]
    assert np.abs(swapped - latents).max() > 0.01
    for _ in range(2):  # the decoder's last layer starts near zero
        grads = jax.jit(jax.grad(task.loss, has_aux=True))(
            params, frozen, extra, batch, jax.random.key(1)
        )[0]
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(grads))


def test_codes_learn_the_features_and_the_tower_gets_no_gradient(tabletop, file):
    """With `detach_pixels` the features alone teach the codes."""
    config = config_of(
        tabletop["array_record"], **fields(file, perceptual=0.5), **{"model.detach_pixels": True}
    )
    task = train.make_task(config)
    frozen = task.frozen()
    batch = {k: v for k, v in next(train.make_loader(config)).items() if k == "frames"}
    params, extra = jax.jit(task.init)(jax.random.key(0), batch)

    def losses(params, frozen):
        _, (_, metrics) = task.loss(params, frozen, extra, batch, jax.random.key(1))
        return metrics["feature_loss"], metrics["perceptual"]

    both = jax.jit(jax.jacrev(losses, argnums=(0, 1)))(params, frozen)
    (predicted, theirs), (perceptual, theirs_too) = both
    largest = lambda tree: max(np.abs(x).max() for x in jax.tree.leaves(tree))  # noqa: E731
    assert np.abs(predicted["net"]["encode"]["to_code"]).max() > 0
    assert largest(predicted["net"]["decode"]) == 0
    assert np.abs(perceptual["net"]["encode"]["to_code"]).max() == 0
    assert largest(perceptual["net"]["decode"]) > 0
    assert largest((theirs, theirs_too)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tower": "/nowhere/t.safetensors"}, "no file /nowhere/t.safetensors of a tower"),
        ({"size": 14}, "config.features.size=14 must be a multiple of 4, the patch of"),
        ({"size": 0}, "config.features.size=0 must be a multiple of 4"),
        ({"weight": 0.0}, "but weight and perceptual are 0: set one"),
        ({"weight": -1.0}, "weight=-1, perceptual=0 and warmup=0 must be at least 0"),
        ({"depth": 0}, "depth=0 at least 1"),
        ({"tower": "", "encoder": "features"}, "encoder=features sees by a tower: set config.feat"),
    ],
)
def test_mistakes_are_told_before_the_first_step(tabletop, file, tmp_path, change, message):
    change, encoder = dict(change), change.get("encoder", "joint")
    change.pop("encoder", None)
    changes = {**fields(file, **change), "model.encoder": encoder}
    config = config_of(tabletop["array_record"], **changes)
    with pytest.raises(UserError, match=message) as caught:
        train.train_and_evaluate(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
