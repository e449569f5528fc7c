"""RAFT against torchvision's, live, with the same random weights (launch/test.sh --oracles).

The flow head is scaled and centred so that flow stays within the frame, as with trained weights.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from raft_fixtures import make_torchvision_importable, pair, random_frames, supplied_weights

from lam import plots
from lam.convert import raft as convert
from lam.models import raft_update
from lam.models.raft import SIZES, Raft, estimate, normalise

pytestmark = pytest.mark.oracle
if not os.environ.get("LAM_ORACLES"):
    pytest.skip("needs torch: bash launch/test.sh --oracles", allow_module_level=True)

make_torchvision_importable()
import torch  # noqa: E402
from torchvision.models import optical_flow  # noqa: E402
from torchvision.utils import flow_to_image  # noqa: E402

PAIRS = ("a256", "b128x160", "c250x270")
UPDATES = (1, 4, 12, 20)


@functools.cache
def peer(size):
    """(torchvision's model, our variables), all weights random, none at its start value."""
    torch.manual_seed(3)
    model = getattr(optical_flow, f"raft_{size}")(weights=None).eval()
    state = model.state_dict()
    for name, x in state.items():
        if name.endswith(("running_var", "running_mean")) or (
            x.ndim == 1 and x.dtype.is_floating_point
        ):
            spread = 0.1 * torch.randn(x.shape)
            x.copy_(1 + spread if x.mean() > 0.5 else x + spread)
    for part in ("weight", "bias"):
        state[f"update_block.flow_head.conv2.{part}"] *= 0.3
    model.load_state_dict(state)
    tree = convert.to_tree({k: x.numpy().copy() for k, x in model.state_dict().items()})[2]
    return model, tree


def theirs(model, first, second, updates):
    """Flow after every update, float32 [U,B,H,W,2], of uint8 frames padded as `estimate` does."""
    height, width = first.shape[1:3]
    spare = [-height % 8, -width % 8]
    pad = (spare[1] // 2, spare[1] - spare[1] // 2, spare[0] // 2, spare[0] - spare[0] // 2)
    frames = [torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1 for x in (first, second)]
    frames = [torch.nn.functional.pad(x, pad, mode="replicate") for x in frames]
    with torch.inference_mode():
        flows = torch.stack(model(*frames, num_flow_updates=updates))
    flows = flows[..., pad[2] : pad[2] + height, pad[0] : pad[0] + width]
    return flows.permute(0, 1, 3, 4, 2).numpy()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("size", SIZES)
def test_flow_agrees(real_data, size, name):
    """Less than 1e-3 px everywhere and 1e-4 px on average, after 1, 4, 12 and 20 updates."""
    model, tree = peer(size)
    frames = pair(real_data / "flow", name)
    expected = theirs(model, *frames, max(UPDATES))
    run = jax.jit(lambda v, a, b, n: estimate(Raft(size), v, a, b, n), static_argnums=3)
    assert 0.5 < np.abs(expected[-1]).max() < 64, "these weights would show nothing"
    for updates in UPDATES:
        error = np.abs(run(tree, *frames, updates) - expected[updates - 1])
        assert error.max() < 1e-3
        assert error.mean() < 1e-4


@pytest.mark.parametrize("weights", ["random_seeded", "minitrained"])
def test_supplied_flows_agree(real_data, weights):
    """All of them: every pair and number of updates, and the 30 exact warps (stored in halves)."""
    folder = real_data / "flow"
    tree = supplied_weights(folder / f"raft_small_{weights}_torchvision_names.npz")
    run = jax.jit(lambda v, a, b, n: estimate(Raft("small"), v, a, b, n), static_argnums=3)
    for name, expected in np.load(folder / f"raft_small_{weights}_oracle.npz").items():
        frames, updates = name.split("_it")
        if frames == "synthetic":
            warps = np.load(folder / "synthetic_warps_192.npz")
            error = run(tree, warps["frame1"][::5], warps["frame2"][::5], int(updates))
            error = np.abs(error - expected[::5].astype(np.float32))
            assert error.max() < 1e-3 + np.abs(expected).max() * 2**-11
            continue
        error = np.abs(
            run(tree, *pair(folder, frames), int(updates))[0] - expected.transpose(1, 2, 0)
        )
        assert error.max() < 1e-3
        assert error.mean() < 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_intermediates_agree(real_data, size):
    """Features, context, likeness and windows, also around points far outside: 1e-4."""
    model, tree = peer(size)
    first, second = (normalise(jnp.asarray(x)) for x in pair(real_data / "flow", "b128x160"))
    ours = Raft(size).bind(tree)
    close = functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=0)
    nearly = functools.partial(np.testing.assert_allclose, atol=1e-4, rtol=1e-5)
    frames = [torch.from_numpy(np.array(x)).permute(0, 3, 1, 2) for x in (first, second)]
    rng = np.random.default_rng(0)
    near = rng.uniform(-12, 32, (1, 2, 16, 20)).astype(np.float32)
    with torch.inference_mode():
        features = model.feature_encoder(torch.cat(frames))
        context = model.context_encoder(frames[0])
        model.corr_block.build_pyramid(*features.chunk(2))
        windows = model.corr_block.index_pyramid(torch.from_numpy(near))
    found = ours.encode(first, second)
    close(np.concatenate(found), features.permute(0, 2, 3, 1))
    close(ours.context(first), context.permute(0, 2, 3, 1))
    levels = raft_update.correlation_pyramid(*found)
    for level, expected in zip(levels, model.corr_block.corr_pyramid, strict=True):
        nearly(level.swapaxes(1, 2), expected[:, 0])
    radius = SIZES[size].radius
    for form in ("gather", "matmul"):
        prepared = raft_update.prepare_lookup(levels, radius, form)
        coordinates = jnp.asarray(near.transpose(0, 2, 3, 1).reshape(-1, 2))
        got = raft_update.lookup(prepared, coordinates, radius, form)
        nearly(got, windows[0].flatten(1).T)


@pytest.mark.parametrize("size", SIZES)
def test_training_pass_agrees(size):
    """Batch norm by the statistics of the batch, which follow; every update; the gradient."""
    model, tree = peer(size)
    first, second = (np.ascontiguousarray(2 * x - 1) for x in random_frames(2, 128, 128, 3))
    model.train()
    frames = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in (first, second)]
    before = {k: x.clone() for k, x in model.state_dict().items()}
    expected = torch.stack(model(*frames, num_flow_updates=2))
    expected.abs().mean().backward()
    after = {k: x.numpy().copy() for k, x in model.state_dict().items()}
    gradients = {k: x.grad.numpy().copy() for k, x in model.named_parameters()}
    model.load_state_dict(before)
    model.zero_grad()
    model.eval()

    def loss(params, rest):
        net = Raft(size)
        flows, new = net.apply(
            {"params": params, **rest}, first, second, 2, every=True, train=True, mutable=list(rest)
        )
        return jnp.mean(jnp.abs(flows)), (flows, new)

    rest = {k: v for k, v in tree.items() if k != "params"}
    (_, (flows, new)), found = jax.jit(jax.value_and_grad(loss, has_aux=True))(tree["params"], rest)
    np.testing.assert_allclose(flows, expected.detach().permute(0, 1, 3, 4, 2), atol=1e-3, rtol=0)
    found = convert.from_tree({"params": found, **new}, "torchvision", size)
    scale = max(np.abs(x).max() for x in gradients.values())
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            found[name], gradient, atol=1e-4 * scale, rtol=1e-3, err_msg=name
        )
    for name in set(after) - set(gradients):
        np.testing.assert_allclose(found[name], after[name], atol=1e-4, rtol=1e-4)


def test_colours_agree():
    """Middlebury colours within one level; a field at a time, as torchvision scales by batches."""
    rng = np.random.default_rng(0)
    fields = rng.normal(size=(30, 24, 20, 2)) * rng.uniform(0.1, 30, (30, 1, 1, 1))
    fields = fields.astype(np.float32)
    for field, found in zip(fields, plots.flow_to_image(fields).astype(int), strict=True):
        expected = flow_to_image(torch.from_numpy(field).permute(2, 0, 1)).permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() <= 1
