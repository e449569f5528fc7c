"""Learning rates at the corners of the schedules, what decays, clipping, accumulated gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import common
from lam import optim, sharding, state, step

BATCH = {"x": np.linspace(-1, 2, 8, dtype=np.float32), "y": np.arange(8, dtype=np.float32)}


def config_of(grad_accum=1, ema=0.0, **changes):
    """The common config with changes of `optim`."""
    config = common.get_config()
    config.update(grad_accum=grad_accum, ema=ema)
    config.optim.update({"lr": 1.0, "warmup_steps": 10} | changes)
    return config


@pytest.mark.parametrize(
    ("changes", "corners"),
    [
        ({"schedule": "constant"}, {0: 0, 5: 0.5, 10: 1, 100: 1, 1000: 1}),
        ({"schedule": "cosine"}, {0: 0, 5: 0.5, 10: 1, 55: 0.5, 100: 0, 1000: 0}),
        ({"schedule": "cosine", "final_fraction": 0.1}, {10: 1, 55: 0.55, 100: 0.1}),
        ({"schedule": "wsd"}, {0: 0, 10: 1, 79: 1, 80: 1, 90: 0.5, 100: 0}),
        ({"schedule": "wsd", "final_fraction": 0.2}, {80: 1, 90: 0.6, 100: 0.2, 1000: 0.2}),
        ({"schedule": "wsd", "decay_fraction": 0.0}, {10: 1, 99: 1, 100: 0}),
        ({"schedule": "wsd", "decay_fraction": 1.0}, {5: 0.5, 10: 1}),
        ({"schedule": "constant", "warmup_steps": 0}, {0: 1, 1: 1, 100: 1}),
        ({"schedule": "cosine", "warmup_steps": 0}, {0: 1, 50: 0.5, 100: 0}),
        ({"schedule": "wsd", "warmup_steps": 0}, {0: 1, 80: 1, 90: 0.5, 100: 0}),
    ],
)
def test_schedules(changes, corners):
    rate = optim.schedule(config_of(**changes).optim, total_steps=100)
    found = {number: float(rate(number)) for number in corners}
    assert found == pytest.approx(corners, abs=1e-6)


def test_fewer_steps_than_warm_up():
    for name in optim.SCHEDULES:
        rate = optim.schedule(config_of(schedule=name).optim, total_steps=4)
        assert [float(rate(number)) for number in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3])


PARAMS = {
    "dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    "norm": {"scale": jnp.ones(2)},
    "bottleneck": {"codebook": jnp.ones((1, 2, 2))},
    "position": jnp.ones((2, 2)),
}


def test_only_kernels_decay():
    assert optim.decays(PARAMS) == {
        "dense": {"kernel": True, "bias": False},
        "norm": {"scale": False},
        "bottleneck": {"codebook": False},
        "position": False,
    }


@pytest.mark.parametrize(("name", "moved"), [("adamw", {"dense/kernel"}), ("adam", set())])
def test_without_gradient_only_decay_moves(name, moved):
    config = config_of(name=name, schedule="constant", weight_decay=0.1, warmup_steps=0)
    optimizer, _ = optim.make(config.optim, 10)
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = optimizer.update(zero, optimizer.init(PARAMS), PARAMS)
    found = {sharding.path_text(k): u for k, u in jax.tree.leaves_with_path(updates)}
    assert {path for path, update in found.items() if np.any(update)} == moved
    for path in moved:
        np.testing.assert_allclose(found[path], -0.1, rtol=1e-6)


@pytest.mark.parametrize(("limit", "norm"), [(1.0, 1.0), (100.0, 50.0), (0.0, 50.0)])
def test_clipping_is_by_the_norm_of_all_gradients_together(limit, norm):
    optimizer, _ = optim.make(config_of(clip_norm=limit).optim, 10)
    grads = {"a": jnp.array([30.0]), "b": jnp.array([40.0])}
    _, opt_state = optimizer.update(grads, optimizer.init(grads), grads)
    (mean,) = (s.mu for s in jax.tree.leaves(opt_state, is_leaf=is_adam) if is_adam(s))
    assert float(optax.tree.norm(mean)) == pytest.approx(norm * (1 - 0.9), rel=1e-5)
    assert float(mean["b"][0] / mean["a"][0]) == pytest.approx(4 / 3)


def is_adam(node):
    return isinstance(node, optax.ScaleByAdamState)


@dataclasses.dataclass(frozen=True)
class Line:
    """The smallest task: y = a * x + b by least squares, and a counter of samples seen."""

    sharding = ()

    def frozen(self):
        return {}

    def init(self, rng, batch, frozen):
        params = {"a": jnp.ones(()), "b": jnp.zeros(())}
        return params, {"seen": jnp.zeros(()), "last": batch["x"]}

    def loss(self, params, frozen, extra, batch, rng):
        error = params["a"] * batch["x"] + params["b"] - batch["y"]
        loss = jnp.mean(error**2)
        extra = {"seen": extra["seen"] + len(batch["x"]), "last": batch["x"]}
        return loss, (extra, {"worst": jnp.max(jnp.abs(error))})

    def post_step(self, params, extra, rng):
        return params, extra


def run_steps(config, batches, sample=BATCH):
    """The state and the metrics after training Line on these batches."""
    mesh = sharding.make_mesh(config.mesh)
    optimizer, schedule = optim.make(config.optim, config.total_steps)
    create, shapes = step.initialiser(config, Line(), optimizer, mesh, sample)
    compiled, _ = step.compile_step(config, Line(), optimizer, schedule, mesh, shapes, {}, sample)
    now = create()
    for batch in batches:
        now, scalars = compiled(now, {}, sharding.put_local(batch, mesh))
    return now, {name: float(value) for name, value in scalars.items()}


def test_accumulated_gradients_equal_those_of_the_whole_batch():
    states, scalars = zip(
        *(run_steps(config_of(grad_accum=n), [BATCH] * 3) for n in (1, 2, 4)), strict=True
    )
    for other, numbers in zip(states[1:], scalars[1:], strict=True):
        for name in ("a", "b"):
            np.testing.assert_allclose(other.params[name], states[0].params[name], rtol=1e-5)
        assert other.extra["seen"] == states[0].extra["seen"] == 3 * 8
        assert numbers["loss"] == pytest.approx(scalars[0]["loss"], rel=1e-5)
        assert numbers["grad_norm"] == pytest.approx(scalars[0]["grad_norm"], rel=1e-5)


def test_a_step_that_is_not_finite_changes_nothing():
    bad = BATCH | {"y": np.full(8, np.nan, np.float32)}
    good, _ = run_steps(config_of(), [BATCH])
    after, scalars = run_steps(config_of(), [BATCH, bad])
    assert scalars["finite"] == 0
    for one, other in zip(jax.tree.leaves(good), jax.tree.leaves(after), strict=True):
        if jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)


def test_the_running_average_follows_the_parameters():
    config = config_of(ema=0.75)
    first, _ = run_steps(config, [BATCH])
    second, _ = run_steps(config, [BATCH] * 2)
    expected = 0.75 * first.ema["a"] + 0.25 * second.params["a"]
    np.testing.assert_allclose(second.ema["a"], expected, rtol=1e-6)
    assert state.variables(second, {})["params"] is second.ema
