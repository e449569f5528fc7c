"""Every variant of every config builds its task and its whole training state, by shapes alone."""

import jax
import pytest

from configs import laq
from input_pipeline import batch as batch_lib
from lam import optim, sharding, step, train


def shapes_of(config):
    """The state that a run of this config starts with, as shapes."""
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(mesh, config.batch_size, config.grad_accum)
    task = train.make_task(config)
    optimizer, _ = optim.make(config.optim, config.total_steps)
    spec = batch_lib.spec(config.batch_size, 2, config.data.image_size, 3, 3)
    batch = {
        key: jax.ShapeDtypeStruct(shape, dtype)
        for key, (shape, dtype) in batch_lib.device_part(spec).items()
    }
    return step.initialiser(config, task, optimizer, mesh, batch)[1]


@pytest.mark.parametrize("variant", laq.VARIANTS)
def test_variant_builds(variant):
    state = shapes_of(laq.get_config(variant))
    codebook = state.params["bottleneck"]["codebook"]
    assert codebook.shape[1] == 8
    assert {x.dtype.name for x in jax.tree.leaves(state.params)} == {"float32"}


def test_lapa_variant_is_the_published_one():
    """343,796,080 parameters less 24 gains of 1024 that the published code never uses."""
    state = shapes_of(laq.get_config("lapa"))
    assert sum(x.size for x in jax.tree.leaves(state.params)) == 343_796_080 - 24 * 1024
    assert state.params["bottleneck"]["codebook"].shape == (1, 8, 32)


def test_variants_do_not_share_their_fields():
    first, second = laq.get_config("tiny"), laq.get_config("tiny")
    first.model.width = 7
    assert second.model.width != 7
