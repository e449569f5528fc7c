"""The flow teacher as a task: its loader, its loss, and the loop on it."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from train_fixtures import assert_same, leaves, lines

import lam.flow
from configs import flow as config_flow
from input_pipeline import procedural
from input_pipeline.errors import DataError
from lam import checkpoint, optim, sharding, step, train
from lam.errors import UserError
from lam.evaluators import endpoint
from lam.flow import export
from lam.models import raft
from lam.ops import flow_pairs
from lam.tasks import flow


@pytest.fixture
def config():
    return config_flow.get_config("debug")


def batches(count, loader):
    return list(itertools.islice(loader, count))


def test_rows_are_a_function_of_seed_split_and_number():
    loader = procedural.make(6, seed=3)
    first, second, third = batches(3, loader)
    assert loader.get_state() == {"batch": 3}
    for key, (shape, dtype) in loader.element_spec.items():
        assert first[key].shape == shape
        assert first[key].dtype == dtype
    assert list(first["key"][:2]) == ["procedural/train@0", "procedural/train@1"]
    loader.set_state({"batch": 1})
    np.testing.assert_array_equal(next(loader)["seed"], second["seed"])
    halves = [next(procedural.make(6, shard_index=i, shard_count=2, seed=3)) for i in (0, 1)]
    both = np.concatenate([half["seed"] for half in halves])
    np.testing.assert_array_equal(both, first["seed"])
    other = [next(procedural.make(6, seed=4)), next(procedural.make(6, seed=3, split="val"))]
    rows = np.concatenate([x["seed"] for x in (first, second, third, *other)])
    assert len(np.unique(rows, axis=0)) == 30


@pytest.mark.parametrize(
    "options", [{"split": "dev"}, {"shard_count": 4}, {"shard_index": 2, "shard_count": 2}]
)
def test_a_loader_that_cannot_be(options):
    with pytest.raises(DataError):
        procedural.make(6, **options)


def test_one_cycle_rises_and_falls_in_straight_lines(config):
    config_flow.one_cycle(config, steps=1000, lr=1e-3, batch_size=2)
    _, rate = optim.make(config.optim, config.total_steps)
    found = [float(rate(i)) for i in (0, 25, 50, 525, 1000)]
    np.testing.assert_allclose(found, [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)


@pytest.mark.parametrize("variant", config_flow.VARIANTS)
def test_variants_build(config, variant):
    config = config_flow.get_config(variant)
    task, mesh = train.make_task(config), sharding.make_mesh(config.mesh)
    optimizer, _ = optim.make(config.optim, config.total_steps)
    batch = {"seed": jax.ShapeDtypeStruct((config.batch_size, 2), jnp.uint32)}
    state = step.initialiser(config, task, optimizer, mesh, batch)[1]
    count = sum(x.size for x in jax.tree.leaves(state.params))
    assert count == {"small": 990_162, "large": 5_257_536}[config.model.size]
    assert bool(state.extra["variables"]) == (config.model.size == "large")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "tiny"}, "No model.size 'tiny'"),
        ({"frame": 96}, "model.frame=96"),
        ({"frame": 130}, "model.frame=130"),
        ({"updates": 0}, "model.updates=0"),
        ({"gamma": 1.5}, "model.gamma=1.5"),
    ],
)
def test_a_model_that_cannot_be(config, changes, message):
    config.model.update(changes)
    with pytest.raises(UserError, match=message):
        train.make_task(config)


NARROW = dataclasses.replace(
    raft.SIZES["small"], feature=(8, 8, 8, 8, 16), hidden=8, context=8, radius=1, corr=(8,),
    flow=(8, 8), motion=10, head=8,
)  # fmt: skip


def noise_pairs(keys_B, size, max_motion):
    """In place of scenes, which take long to compile: noise that moves or not, half of it seen."""

    def one(key):
        number = jax.random.uniform(key, (size, size, 3))
        frame = (256 * number).astype(jnp.uint8)
        moves = number[0, 0, 0] < 0.5
        flow = jnp.where(moves, jnp.array([1.0, 0.0]), 0.0) * jnp.ones((size, size, 1))
        return frame, jnp.roll(frame, moves, axis=1), flow, number[..., 1] < 0.5

    assert max_motion == 20
    return jax.vmap(one)(keys_B)


class Known:
    """In place of a net: flows that are off by known amounts."""

    def __init__(self, flows_UBHW2):
        self.flows_UBHW2 = flows_UBHW2

    def apply(self, variables, first, second, updates, every, train, mutable):
        assert len(self.flows_UBHW2) == updates
        assert first.dtype == jnp.float32
        assert (mutable, every, train) == ([], True, True)
        return self.flows_UBHW2, {}


def test_sequence_loss_against_numpy(config, monkeypatch):
    """Mean absolute errors of the updates, weighed 0.64, 0.8, 1."""
    monkeypatch.setattr(flow_pairs, "batch", noise_pairs)
    batch = {"seed": jnp.asarray(next(procedural.make(6))["seed"])}
    pairs = train.make_task(config).pairs(batch)
    target = pairs[2]
    found = target + jax.random.normal(jax.random.key(0), (3, *target.shape))
    task = flow.Task(Known(found), max_motion=config.model.max_motion, updates=3)
    loss, (extra, metrics) = task.loss({}, {}, {"variables": {}}, batch, jax.random.key(0))
    errors = [np.abs(one - target).mean() for one in found]
    expected = np.dot((0.64, 0.8, 1.0), errors)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    last = np.linalg.norm(found[-1] - target, axis=-1)
    np.testing.assert_allclose(metrics["epe"], last.mean(), rtol=1e-4)
    visible = np.mean([error[mask].mean() for error, mask in zip(last, pairs[3], strict=True)])
    np.testing.assert_allclose(metrics["epe_visible"], visible, rtol=1e-4)
    assert 0 < metrics["zero"] < 1
    np.testing.assert_allclose(metrics["zero"], np.linalg.norm(target, axis=-1).mean(), rtol=1e-4)
    assert extra == {"variables": {}}


@pytest.mark.timeout(300)
def test_the_loop_trains_resumes_and_evaluates(config, tmp_path, monkeypatch):
    monkeypatch.setattr(flow_pairs, "batch", noise_pairs)
    monkeypatch.setitem(raft.SIZES, "small", NARROW)
    config.optim.schedule, config.checkpoint_every = "constant", 0
    results = train.train_and_evaluate(config, tmp_path / "straight")
    rows = lines(tmp_path / "straight")
    assert {"loss", "epe", "epe_visible", "zero"} <= rows[0].keys()
    assert {"endpoint/epe", "endpoint/epe_visible", "endpoint/zero"} <= results.keys()
    folder = tmp_path / "straight" / "evals" / "endpoint" / "4"
    assert {path.name for path in folder.iterdir()} == {"numbers.json", "pairs.png"}
    config.evals.endpoint.type = ""  # once will do
    config.stop_at = 2
    assert train.train_and_evaluate(config, tmp_path / "two") == {}
    assert checkpoint.steps(tmp_path / "two") == [2]
    config.stop_at = 0
    train.train_and_evaluate(config, tmp_path / "two")
    assert_same(leaves(tmp_path / "straight", 4), leaves(tmp_path / "two", 4))
    assert [row["loss"] for row in lines(tmp_path / "two")] == [row["loss"] for row in rows]
    exported_weights_are_loaded_and_trained_on(config, tmp_path / "straight", tmp_path)


def exported_weights_are_loaded_and_trained_on(config, run, tmp_path):
    path = tmp_path / "w.safetensors"
    said = export.export(run, path, dtype="float32")
    assert said.startswith(f"{path}: raft_small of step 4, float32")
    params = jax.device_get(checkpoint.load_params(run)[1])
    found = lam.flow.load(path)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found.variables["params"]), params)
    assert (found.about["seed"], found.about["step"], found.about["total_steps"]) == ("0", "4", "4")
    assert json.loads(found.about["validation"]).keys() >= {"epe", "zero"}
    config.model.start = str(path)
    start, _ = jax.jit(train.make_task(config).init)(jax.random.key(9), {})
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(start), params)
    config.model.size = "large"
    with pytest.raises(UserError, match="is a raft_small, this is to be a raft_large"):
        train.train_and_evaluate(config, tmp_path / "large")


def test_export_says_what_is_wrong(tmp_path):
    (tmp_path / "config.json").write_text('{"task": "laq"}')
    with pytest.raises(UserError, match="holds a 'laq'; flow teachers are 'flow' workdirs"):
        export.export(tmp_path, tmp_path / "w.safetensors")
    (tmp_path / "config.json").write_text('{"task": "flow"}')
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        export.export(tmp_path, tmp_path / "w.npz")
    with pytest.raises(UserError, match="No checkpoint under"):
        export.export(tmp_path, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"no workdir of lam\.main"):
        export.export(tmp_path / "nowhere", tmp_path / "w.safetensors")


def test_the_evaluator_tells_still_pairs_from_moving_ones():
    zero = np.array([0.0, 0.05, 2.0, 4.0], np.float32)
    shape = (4, 8, 8)

    def predict(name, variables, batch):
        if name == "errors":
            epe = np.array([0.1, 0.3, 1.0, 2.0], np.float32)
            return {"epe": epe, "epe_visible": epe / 2, "zero": zero}
        frames = np.zeros((*shape, 3), np.uint8)
        fields = np.ones((*shape, 2), np.float32)
        return {"first": frames, "second": frames, "flow": fields, "found": 2 * fields}

    data = lambda split, count, seed: iter([{}] * count)  # noqa: E731
    found = dict(endpoint.Evaluator(predict, data, batches=2).run({}, 7))
    assert found["epe"] == pytest.approx(0.85)
    assert found["epe_still"] == pytest.approx(0.2)
    assert found["epe_moving"] == pytest.approx(1.5)
    assert len([axis for axis in found["pairs"].axes if axis.images]) == 4 * 2 * 4
