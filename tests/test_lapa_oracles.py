"""Our quirk mode against LAPA's own module, live, from a clone that LAM_LAPA names.

LAM_LAPA=CLONE bash launch/test.sh --oracles -k lapa_oracles   (of LatentActionPretraining/LAPA)

Weights are random, of LAPA's names and shapes; without a clone tests/test_convert_laq.py compares
with recorded answers.
"""

import importlib
import os
import pathlib
import sys
import types

import jax
import numpy as np
import pytest
from lapa_fixtures import CASES, frames_of, model_of, random_arrays

import lam
from lam.convert import files
from lam.convert import laq as convert
from lam.models import laq_weights

pytestmark = pytest.mark.oracle
CLONE = os.environ.get("LAM_LAPA")
if not CLONE or not os.environ.get("LAM_ORACLES"):
    pytest.skip(
        "needs torch and a clone of LAPA: LAM_LAPA=CLONE bash launch/test.sh --oracles",
        allow_module_level=True,
    )

import record_lapa  # noqa: E402
import torch  # noqa: E402

PAIRS = 200


def halves(frames):
    """First and second frames of uint8 pairs as float32 in [0,1]."""
    return np.moveaxis(frames.astype(np.float32) / 255, 1, 0)


@pytest.fixture(scope="module", params=CASES)
def both(request, tmp_path_factory):
    """(LAPA's net, ours from a file of its state dict) of a case."""
    model, size = model_of(request.param)
    net = record_lapa.peer(CLONE, model, size, random_arrays(model, size))
    folder = tmp_path_factory.mktemp("laq")
    torch.save(net.state_dict(), folder / "laq_openx.pt")
    convert.convert(folder / "laq_openx.pt", folder / "ours.safetensors", size)
    return net, lam.load(folder / "ours.safetensors")


def test_tokens_and_frames_agree(both):
    """All tokens of 200 pairs, and every pixel within 1e-4."""
    net, laq = both
    frames = frames_of(PAIRS, laq.image_size)
    tokens, recon = record_lapa.answers(net, frames)
    assert len(np.unique(tokens)) > 3, "these weights would show nothing"
    found_tokens, found = [], []
    run = jax.jit(laq.task.model.apply)
    for rows in np.split(frames, 4):
        out = run({"params": laq.variables["params"]}, *halves(rows))
        found_tokens.append(out.tokens)
        found.append(out.recon)
    np.testing.assert_array_equal(np.concatenate(found_tokens), tokens)
    np.testing.assert_allclose(np.concatenate(found), recon, atol=1e-4, rtol=0)


def test_our_parameters_load_there(both, tmp_path):
    """Fresh parameters of ours as a .pt file, through LAPA's own loader and torch's strict one."""
    _, laq = both
    model, size = laq.task.model, laq.image_size
    image = np.zeros((1, size, size, 3), np.float32)
    params = jax.jit(model.init)(jax.random.key(7), image, image)["params"]
    laq_weights.write(tmp_path / "ours.safetensors", params, model, size)
    convert.convert(tmp_path / "ours.safetensors", tmp_path / "theirs.pt")
    net = record_lapa.peer(CLONE, model, size, files.read(tmp_path / "theirs.pt"))
    net.load(tmp_path / "theirs.pt")
    frames = frames_of(4, size)
    tokens, recon = record_lapa.answers(net, frames)
    out = jax.jit(model.apply)({"params": params}, *halves(frames))
    np.testing.assert_array_equal(out.tokens, tokens)
    np.testing.assert_allclose(out.recon, recon, atol=1e-4, rtol=0)


def test_one_training_pass_agrees(both, monkeypatch):
    """The loss with the same noise, and the gradient of every parameter, in LAPA's names."""
    net, laq = both
    model, frames, rng = laq.task.model, frames_of(8, laq.image_size), jax.random.key(0)
    noise = np.array(jax.random.normal(rng, (8, model.num_tokens, model.code_width)))
    drawn = types.SimpleNamespace(sample=lambda shape: torch.from_numpy(noise).reshape(shape))
    nsvq = sys.modules[type(net.vq).__module__]
    monkeypatch.setattr(nsvq, "normal_dist", types.SimpleNamespace(Normal=lambda *_: drawn))
    net.zero_grad()
    loss, _ = net(torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 255, step=1)
    loss.backward()
    first, second = halves(frames)

    def ours(params):
        recon = model.apply({"params": params}, first, second, rng).recon
        return ((recon - second) ** 2).mean()

    value, found = jax.jit(jax.value_and_grad(ours))(laq.variables["params"])
    np.testing.assert_allclose(value, loss.item(), rtol=1e-5)
    found = {k: x for k, x in convert.from_tree(found).items() if x.size}
    expected = {k: x.grad.numpy() for k, x in net.named_parameters() if x.grad is not None}
    expected = {k: x for k, x in expected.items() if x.size}
    unused = [k for k in found if k.endswith((".beta", ".1.context_norm.gamma"))]
    assert {*expected, *unused} == found.keys()
    scale = max(np.abs(x).max() for x in expected.values())
    for name, x in expected.items():
        np.testing.assert_allclose(found[name], x, atol=1e-5 * scale, rtol=1e-3, err_msg=name)


def test_the_benchmark_beside_lapa_runs(tmp_path, monkeypatch):
    """Both sides are asked and answer as our evaluators want it."""
    monkeypatch.syspath_prepend(pathlib.Path(__file__).resolve().parents[1] / "benchmarks")
    laq_peer = importlib.import_module("laq_peer")
    monkeypatch.setattr(laq_peer, "BATCHES", 2)
    options = types.SimpleNamespace(lapa=CLONE, data=str(tmp_path), steps=2, batch=8, device="cpu")
    found = list(laq_peer.quality(options, importlib.import_module("laq_sides")))
    assert [row["case"] for row in found] == [
        "quality_lapa",
        "quality_ours_lapa",
        "quality_ours_joint",
    ]
    for row in found:
        assert 1 <= row["codes_used"] <= 8
        assert row["mse_over_copy"] > 0
    lapa, ours, joint = (row["parameters"] for row in found)
    assert 0 < lapa - ours < 0.001 * lapa  # what its module holds and does not use
    assert joint < ours
