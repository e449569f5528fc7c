"""The flow target of LAQ: a decoder learns from frame 1 and the codes what a frozen RAFT sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from raft_fixtures import random_frames, random_weights
from train_fixtures import assert_same, config_of, leaves, lines

import lam
from lam import train
from lam.errors import UserError
from lam.flow import Estimator, weights
from lam.tasks import flow_target

STEPS = 24


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A file of random weights that say motions of a pixel or two."""
    path = tmp_path_factory.mktemp("teacher") / "w.safetensors"
    tree = random_weights("small")
    tree["params"]["head"]["conv2"]["kernel"] *= 0.1
    weights.save(path, tree, "small")
    return path


def section(teacher, **changes):
    weighted = {"weight": 10.0, "summary_weight": 1.0, "warmup": 4}
    return {"teacher": str(teacher), "updates": 1, "chunk": 0, **weighted} | changes


def test_flow_is_that_of_the_estimator_in_any_chunks(teacher):
    frames = [x.astype(np.float32) for x in random_frames(4, 16, 16, 3)]
    expected = Estimator(*weights.read(teacher)[:2])(*frames, 1)
    assert np.abs(expected).max() > 0.1
    for chunk in (0, 1, 2, 4):
        target = flow_target.make(section(teacher, chunk=chunk))
        found = jax.jit(target.flow)(target.read(), *frames)
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_loss_against_numpy():
    """Squared error of the share of the frame, wider than high, growing over the warm-up."""
    rng = np.random.default_rng(0)
    share, flow = 0.1 * rng.normal(size=(2, 3, 4, 8, 2)).astype(np.float32)
    target = flow_target.Target("", 10.0, 0.0, 4, 1, 0)
    error = np.mean((share - flow / [8, 4]) ** 2)
    for steps, factor in [(0, 0.25), (2, 0.75), (9, 1.0)]:
        loss, metrics = target.loss(share, flow, jnp.asarray(steps))
        np.testing.assert_allclose(loss, 10 * factor * error, rtol=1e-5)
    length = lambda x: np.linalg.norm(x, axis=-1).mean()  # noqa: E731
    epe = length(share * [8, 4] - flow)
    np.testing.assert_allclose(metrics["flow_epe"], epe, rtol=1e-5)
    np.testing.assert_allclose(metrics["flow_epe_over_zero"], epe / length(flow), rtol=1e-5)


def test_summary_loss_against_numpy():
    """A pair that moves is weighed by the teacher's lengths, one that stands still evenly."""
    rng = np.random.default_rng(1)
    share = 0.1 * rng.normal(size=(2, 4, 8, 2)).astype(np.float32)
    flow = np.stack([rng.normal(size=(4, 8, 2)), np.full((4, 8, 2), 0.01)]).astype(np.float32)
    weight = np.stack([np.linalg.norm(flow[0], axis=-1), np.ones((4, 8))])[..., None]
    off = (weight * (share - flow / [8, 4])).sum((1, 2)) / weight.sum((1, 2))
    loss, metrics = flow_target.Target("", 0.0, 3.0, 0, 1, 0).loss(share, flow, jnp.asarray(0))
    np.testing.assert_allclose(loss, 3 * np.mean(off**2), rtol=1e-5)
    np.testing.assert_allclose(metrics["flow_summary_mse"], np.mean(off**2), rtol=1e-5)


def test_training_learns_the_flow_resumes_and_evaluates(tabletop, teacher, tmp_path):
    """Stopped and resumed is straight through; the teacher is no part of the checkpoint."""
    changes = {f"flow.{k}": v for k, v in section(teacher, chunk=4).items()}
    changes |= {
        "checkpoint_every": STEPS // 2,
        "evals.flow.type": "endpoint",
        "evals.flow.batches": 1,
    }
    run = lambda name, **more: train.train_and_evaluate(  # noqa: E731
        config_of(tabletop["array_record"], total_steps=STEPS, **changes, **more), tmp_path / name
    )
    results = run("straight")
    assert {"flow/epe", "flow/zero", "flow/epe_moving"} <= set(results)
    assert (tmp_path / "straight" / "evals" / "flow" / str(STEPS) / "pairs.png").exists()
    rows = lines(tmp_path / "straight")
    first, last = (np.mean([row["flow_mse"] for row in part]) for part in (rows[:4], rows[-4:]))
    assert last < 0.7 * first
    assert {"flow_epe", "flow_epe_over_zero"} <= set(rows[0])
    assert run("resumed", stop_at=STEPS // 2) == {}
    assert run("resumed") == results
    whole = leaves(tmp_path / "straight", STEPS)
    assert_same(whole, leaves(tmp_path / "resumed", STEPS))
    assert not any("motion" in name for name in whole), "the teacher's weights were saved"
    laq = lam.load(tmp_path / "straight")
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
    assert laq.encode(frames).shape == (2, 4)


def test_codes_get_a_gradient_from_the_flow_and_the_teacher_gets_none(tabletop, teacher):
    config = config_of(
        tabletop["array_record"], **{f"flow.{k}": v for k, v in section(teacher).items()}
    )
    task = train.make_task(config)
    frozen = task.frozen()
    batch = {"frames": next(train.make_loader(config))["frames"][:2]}
    params, extra = jax.jit(task.init)(jax.random.key(0), batch)

    def flow_loss(params, frozen):
        _, (_, metrics) = task.loss(params, frozen, extra, batch, jax.random.key(1))
        return metrics["flow_mse"]

    ours, theirs = jax.jit(jax.grad(flow_loss, argnums=(0, 1)))(params, frozen)
    assert np.abs(ours["net"]["encode"]["to_code"]).max() > 0
    assert not any(np.any(x) for x in jax.tree.leaves(ours["net"]["decode"]))
    assert not any(np.any(x) for x in jax.tree.leaves(theirs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow.teacher": "/nowhere/w.safetensors"}, "there is no file /nowhere/w.safetensors"),
        ({"flow.teacher": "raft_huge"}, "or one of the names: shipped, raft_small, raft_large"),
        ({"flow.updates": 0}, "updates=0 must be at least 1"),
        ({"flow.weight": -1.0}, "weight=-1 and summary_weight=1 at least 0"),
        ({"flow.weight": 0.0, "flow.summary_weight": 0.0}, "weight and summary_weight are 0"),
        ({"flow.chunk": 3}, "chunk=3 must divide the batch of 8 pairs"),
    ],
)
def test_mistakes_are_told_before_the_first_step(tabletop, teacher, tmp_path, change, message):
    usual = {f"flow.{k}": v for k, v in section(teacher).items()}
    config = config_of(tabletop["array_record"], **(usual | change))
    with pytest.raises(UserError, match=message) as caught:
        train.train_and_evaluate(config, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
