"""The learned target: features of frame 2 by an average that follows, and what it teaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from train_fixtures import assert_same, config_of, leaves, lines

import lam
from lam import train
from lam.errors import UserError
from lam.tasks import latent_target

STEPS = 24
CHANGES = {"latent.weight": 1.0, "latent.decay": 0.9, "latent.warmup": 4}


def test_loss_against_numpy():
    """Squared error over that of a copy, growing over the warm-up; the spread is over samples."""
    rng = np.random.default_rng(0)
    first, found, second = rng.normal(size=(3, 5, 2, 2, 8)).astype(np.float32)
    target = latent_target.Target(weight=3.0, decay=0.9, warmup=4)
    for steps, factor in [(0, 0.25), (2, 0.75), (9, 1.0)]:
        loss, metrics = target.loss(first, found, second, jnp.asarray(steps))
        error = np.mean((found - second) ** 2)
        np.testing.assert_allclose(loss, 3 * factor * error, rtol=1e-5)
    over_copy = error / np.mean((first - second) ** 2)
    np.testing.assert_allclose(metrics["latent_loss_over_copy"], over_copy, rtol=1e-5)
    np.testing.assert_allclose(metrics["latent_spread"], second.std(0).mean(), rtol=1e-5)
    collapsed = np.repeat(second[:1], 5, axis=0)
    assert target.loss(first, found, collapsed, 9)[1]["latent_spread"] < 1e-6


def test_it_teaches_the_codes_by_itself_and_training_resumes(tabletop, tmp_path):
    """Pixels teach nothing here; stopped and resumed is straight through, the average included."""
    changes = CHANGES | {"model.detach_pixels": True, "checkpoint_every": STEPS // 2}
    run = lambda name, **more: train.train_and_evaluate(  # noqa: E731
        config_of(tabletop["array_record"], total_steps=STEPS, **changes, **more), tmp_path / name
    )
    run("straight")
    rows = lines(tmp_path / "straight")
    parts = (rows[:4], rows[-4:])
    first, last = (np.mean([row["latent_loss_over_copy"] for row in part]) for part in parts)
    assert last < 0.98 * first
    run("resumed", stop_at=STEPS // 2)
    run("resumed")
    whole = leaves(tmp_path / "straight", STEPS)
    assert_same(whole, leaves(tmp_path / "resumed", STEPS))
    assert any("['average']" in name for name in whole)
    laq = lam.load(tmp_path / "straight")
    laq.save(tmp_path / "laq.safetensors")
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
    again = lam.load(tmp_path / "laq.safetensors")
    np.testing.assert_array_equal(again.encode(frames), laq.encode(frames))


def test_the_average_follows_and_gets_no_gradient(tabletop):
    config = config_of(tabletop["array_record"], **CHANGES)
    task = train.make_task(config)
    batch = {"frames": next(train.make_loader(config))["frames"][:2]}
    params, extra = jax.jit(task.init)(jax.random.key(0), batch)
    same = jax.tree.map(np.array_equal, extra["average"], params["frame_encoder"])
    assert all(jax.tree.leaves(same))

    def latent_loss(params, average):
        both = {**extra, "average": average}
        _, (_, metrics) = task.loss(params, {}, both, batch, jax.random.key(1))
        return metrics["latent_loss"]

    ours, theirs = jax.jit(jax.grad(latent_loss, (0, 1)))(params, extra["average"])
    assert np.abs(ours["net"]["encode"]["to_code"]).max() > 0
    assert np.abs(ours["frame_encoder"]["pixels"]["kernel"]).max() > 0
    assert not any(np.any(x) for x in jax.tree.leaves(theirs))
    moved = {**params, "frame_encoder": jax.tree.map(lambda x: x + 1, params["frame_encoder"])}
    _, after = task.post_step(moved, extra, jax.random.key(2))
    before = extra["average"]["pixels"]["kernel"]
    np.testing.assert_allclose(after["average"]["pixels"]["kernel"], before + 0.1, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent.weight": -1.0}, "weight=-1 and warmup=4 must be at least 0"),
        ({"latent.decay": 1.0}, "decay=1 at least 0 and below 1"),
        ({"latent.depth": 0}, "depth=0 at least 1"),
        ({"latent.weight": 0.0, "model.detach_pixels": True}, "nothing would teach the codes"),
    ],
)
def test_mistakes(tabletop, change, message):
    with pytest.raises(UserError, match=message):
        train.make_task(config_of(tabletop["array_record"], **(CHANGES | change)))
