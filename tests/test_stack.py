"""Blocks on one another: remat and scan change what it costs, not what it says.

D width, N tokens.
"""

import functools
import json
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from interpreter import ROOT
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P
from test_configs import shapes_of

from configs import laq
from lam import sharding
from lam.models import lapa_parts
from lam.models.transformer import SHARDING, Block, Stack

DEPTH = 3


class Net(nn.Module):
    """Blocks of the default, or of the published model with an attention bias."""

    stack: Stack
    published: bool = False

    @nn.compact
    def __call__(self, x_BND):
        if not self.published:
            return self.stack(functools.partial(Block, heads=2), DEPTH, x_BND)
        x_BTHWD = x_BND.reshape(2, 1, 2, 3, 8)
        bias_ANN = self.param("bias", nn.initializers.normal(1.0), (2, 6, 6))
        blocks = lapa_parts.Transformer(DEPTH, 2, "space", jnp.float32, stack=self.stack)
        return blocks(x_BTHWD, bias_ANN, x_BND[:, :2]).reshape(x_BND.shape)


def stacked(params):
    """Parameters of "block_0", "block_1", ... as those of "blocks"."""
    if "block_0" not in params:
        return {k: stacked(v) if isinstance(v, dict) else v for k, v in params.items()}
    blocks = [params[f"block_{i}"] for i in range(DEPTH)]
    rest = {k: v for k, v in params.items() if not k.startswith("block_")}
    return rest | {"blocks": jax.tree.map(lambda *x: jnp.stack(x), *blocks)}


@pytest.mark.parametrize("published", [False, True])
def test_the_same_numbers_and_gradients(published):
    x_BND = jax.random.normal(jax.random.key(0), (2, 6, 8))
    params = Net(Stack(), published).init(jax.random.key(1), x_BND)["params"]

    def value(stack):
        loss = lambda p: jnp.mean(Net(stack, published).apply({"params": p}, x_BND) ** 2)  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))

    loss, grads = value(Stack())(params)
    for stack in (Stack(remat=True), Stack(remat=True, scan=True)):
        change = stacked if stack.scan else lambda tree: tree
        found, found_grads = value(stack)(change(params))
        np.testing.assert_allclose(found, loss, rtol=1e-5)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
            found_grads,
            change(grads),
        )


def test_remat_keeps_less():
    """Only what runs into a block is kept for the gradient, not what is made within."""
    x_BND = jax.random.normal(jax.random.key(0), (2, 6, 8))
    kept = {}
    for stack in (Stack(), Stack(remat=True)):
        net = Net(stack)
        params = net.init(jax.random.key(1), x_BND)
        _, backward = jax.vjp(lambda p, net=net: net.apply(p, x_BND), params)
        kept[stack.remat] = sum(x.size for x in jax.tree.leaves(backward))
    assert kept[True] < kept[False] / 2


@pytest.mark.parametrize("variant", ["lapa", "large"])
def test_large_variants_are_shared_out_over_eight_devices(variant):
    """Nearly all parameters are split over fsdp and tensor, and their blocks never over layers."""
    mesh = AbstractMesh((2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    params = shapes_of(laq.get_config(variant)).params
    shardings = sharding.tree_shardings(params, mesh, SHARDING)
    total = sum(x.size for x in jax.tree.leaves(params))
    own = sum(
        np.prod(s.shard_shape(x.shape))
        for x, s in zip(jax.tree.leaves(params), jax.tree.leaves(shardings), strict=True)
    )
    assert own / total < 0.28
    if variant == "large":
        assert total > 1e9
        kernel = shardings["net"]["enc_spatial"]["blocks"]["self"]["query"]["kernel"]
        assert kernel.spec == P(None, "fsdp", "tensor")


def test_memory_is_told_without_the_devices():
    command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--devices=4"]
    more = ["--config=configs/laq.py:debug", "--config.mesh.fsdp=2", "--config.model.scan_layers"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["mesh"] == {"data": 2, "fsdp": 2, "tensor": 1}
    params = shapes_of(laq.get_config("debug")).params
    assert found["parameters"] == sum(x.size for x in jax.tree.leaves(params))
    assert 0.5 < found["share_of_a_device"] < 0.9
    assert "MiB" in found["memory_per_device"]
