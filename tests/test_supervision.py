"""True actions of a few scenes, changed looks and a decoder that only looks on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from train_fixtures import assert_same, config_of, leaves, lines

from lam import train
from lam.errors import UserError
from lam.tasks import supervision

STEPS = 24


def test_a_scene_is_told_or_not_for_good_and_in_the_right_share():
    scenes = jnp.arange(20_000)
    for share in (0.02, 0.3, 1.0):
        told = np.asarray(supervision.told(scenes, share))
        assert abs(told.mean() - share) < 0.01
        np.testing.assert_array_equal(supervision.told(scenes[::-1], share)[::-1], told)


def test_loss_against_numpy():
    """Over told pairs and known dims alone; nothing where none is told."""
    rng = np.random.default_rng(0)
    batch = {
        "action": rng.normal(size=(64, 3)).astype(np.float32),
        "action_mask": rng.random((64, 3)) < 0.7,
        "scene_id": np.arange(64),
    }
    found = rng.normal(size=(64, 2)).astype(np.float32)
    told = np.asarray(supervision.told(batch["scene_id"], 0.5))[:, None] > 0
    mask = told & batch["action_mask"][:, [2, 0]]
    error = ((found - batch["action"][:, [2, 0]]) ** 2)[mask].mean()
    loss, metrics = supervision.Supervision(3.0, 0.5, (2, 0)).loss(found, batch)
    np.testing.assert_allclose(loss, 3 * error, rtol=1e-5)
    np.testing.assert_allclose(metrics["action_told"], mask.mean(), rtol=1e-5)
    none = {**batch, "action_mask": np.zeros((64, 3), bool)}
    assert supervision.Supervision(3.0, 0.5, (2, 0)).loss(found, none)[0] == 0


def test_labels_alone_teach_the_codes_and_training_resumes(tabletop, tmp_path):
    """Pixels teach nothing here: what the codes know of actions they know from the labels."""
    changes = {
        "action.weight": 1.0, "action.share": 1.0, "model.detach_pixels": True,
        "augment.crop": 0.8, "augment.colour": 0.1, "augment.apart": True,
        "checkpoint_every": STEPS // 2,
    }  # fmt: skip
    run = lambda name, **more: train.train_and_evaluate(  # noqa: E731
        config_of(tabletop["array_record"], total_steps=STEPS, **changes, **more), tmp_path / name
    )
    run("straight")
    rows = lines(tmp_path / "straight")
    first, last = (np.mean([row["action_mse"] for row in part]) for part in (rows[:4], rows[-4:]))
    assert last < 0.8 * first
    run("resumed", stop_at=STEPS // 2)
    run("resumed")
    assert_same(leaves(tmp_path / "straight", STEPS), leaves(tmp_path / "resumed", STEPS))


@pytest.mark.parametrize("detached", [True, False])
def test_a_decoder_that_looks_on_gives_the_encoder_no_gradient(tabletop, detached):
    changes = {"action.weight": 1.0, "model.detach_pixels": detached}
    config = config_of(tabletop["array_record"], **changes)
    task = train.make_task(config)
    batch = next(train.make_loader(config))
    batch = {key: batch[key] for key in ("frames", "action", "action_mask", "scene_id")}
    params, extra = jax.jit(task.init)(jax.random.key(0), batch)

    def pixels(params):
        _, (_, metrics) = task.loss(params, {}, extra, batch, jax.random.key(1))
        return metrics["mse"] + metrics["guided_mse"]

    gradient = jax.jit(jax.grad(pixels))(params)
    learns = lambda tree: any(np.any(x) for x in jax.tree.leaves(tree))  # noqa: E731
    assert learns(gradient["net"]["decode"])
    assert learns(gradient["net"]["encode"]) == (not detached)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action.weight": -1.0}, "weight=-1 must be at least 0"),
        ({"action.weight": 1.0, "action.share": 0.0}, "share=0 above 0"),
        ({"action.weight": 1.0, "action.dims": (0, 99)}, r"dims=\(0, 99\), but the actions of"),
        ({"model.detach_pixels": True}, "nothing would teach the codes"),
    ],
)
def test_mistakes_are_told_before_the_first_step(tabletop, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        train.train_and_evaluate(config_of(tabletop["array_record"], **change), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
