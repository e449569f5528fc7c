"""`lam.load`: the three lines of a notebook, and what it says to wrong arguments."""

import jax
import numpy as np
import pytest
from interpreter import HEAVY, fresh
from train_fixtures import config_of

import lam
from lam import train
from lam.errors import UserError

SIZE, BATCH = 16, 4


@pytest.fixture(scope="module")
def folder(tabletop, tmp_path_factory):
    """A workdir with checkpoints of steps 1 and 2."""
    folder = tmp_path_factory.mktemp("run")
    config = config_of(tabletop["array_record"], total_steps=2, checkpoint_every=1)
    train.train_and_evaluate(config, folder)
    return folder


@pytest.fixture(scope="module")
def laq(folder):
    laq = lam.load(str(folder))
    laq.batch_size = BATCH
    return laq


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (6, 2, SIZE, SIZE, 3), np.uint8)


def test_attributes(laq):
    assert (laq.step, laq.image_size, laq.num_tokens, laq.num_codes) == (2, SIZE, 4, 8)


@pytest.mark.parametrize("count", [0, 1, BATCH, 6])
def test_any_number_of_samples(laq, frames, count):
    tokens = laq.encode(frames[:count])
    assert tokens.shape == (count, 4)
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens, laq.encode(frames)[:count])
    second = laq.decode(frames[:count, 0], tokens)
    assert second.shape == (count, SIZE, SIZE, 3)
    assert second.dtype == np.uint8
    np.testing.assert_array_equal(second, laq.decode(frames[:, 0], laq.encode(frames))[:count])


def test_equals_the_predictions_of_the_task(laq, frames):
    batch = {"frames": frames[:BATCH]}
    found = jax.jit(laq.task.predict["reconstruct"])(laq.variables, batch)
    tokens = laq.encode(frames[:BATCH])
    np.testing.assert_array_equal(tokens, found["tokens"])
    decoded = laq.decode(frames[:BATCH, 0], tokens).astype(float)
    np.testing.assert_allclose(decoded, 255 * np.asarray(found["recon"]), atol=0.51)


def test_tokens_matter_and_any_integer_type_is_taken(laq, frames):
    tokens = laq.encode(frames)
    decoded = laq.decode(frames[:, 0], tokens)
    np.testing.assert_array_equal(laq.decode(frames[:, 0], tokens.astype(np.uint8)), decoded)
    np.testing.assert_array_equal(laq.decode(frames[:, 0], tokens.tolist()), decoded)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda x: x / 255, r"frames must be uint8 \[N,2,16,16,3\], got float64 \[6,2,16,16,3\]"),
        (lambda x: x[:, 0], r"frames must be uint8 \[N,2,16,16,3\], got uint8 \[6,16,16,3\]"),
        (lambda x: x[:, :, :8], r"got uint8 \[6,2,8,16,3\]"),
        (lambda x: x[..., :1], r"got uint8 \[6,2,16,16,1\]"),
    ],
)
def test_wrong_frames(laq, frames, change, wanted):
    with pytest.raises(UserError, match=wanted):
        laq.encode(change(frames))


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        (np.zeros((6, 4)), r"tokens must be int \[6,4\], got float64 \[6,4\]"),
        (np.zeros((5, 4), int), r"tokens must be int \[6,4\], got int64 \[5,4\]"),
        (np.zeros((6, 3), int), r"tokens must be int \[6,4\], got int64 \[6,3\]"),
        (np.full((6, 4), 8), r"tokens must lie in 0..7, got 8..8"),
        (np.full((6, 4), -1), r"tokens must lie in 0..7, got -1..-1"),
    ],
)
def test_wrong_tokens(laq, frames, tokens, wanted):
    with pytest.raises(UserError, match=wanted):
        laq.decode(frames[:, 0], tokens)


def test_weights_of_a_step(folder, laq):
    first = lam.load(folder, step=1)
    assert first.step == 1
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), first.variables, laq.variables)
    assert max(jax.tree.leaves(moved)) > 1e-4
    with pytest.raises(UserError, match=r"No checkpoint of step 3 under .*; there are \[1, 2\]"):
        lam.load(folder, step=3)


def test_folders_without_a_model(folder, tmp_path):
    with pytest.raises(UserError, match=r"is no workdir of lam.main: it has no config.json"):
        lam.load(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(UserError, match=r"No checkpoint under .*: train first"):
        lam.load(tmp_path)
    (tmp_path / "config.json").write_text('{"task": "probe"}')
    with pytest.raises(UserError, match=r"holds a 'probe'; lam.load reads 'laq'"):
        lam.load(tmp_path)


def test_weights_of_another_version_of_the_code(laq, frames):
    other = lam.api.LatentActions(laq.task, {"net": {}}, 1, SIZE)
    with pytest.raises(UserError, match=r"another version of the model \(.*run.json says which"):
        other.encode(frames)


def test_works_where_nothing_but_jax_is_installed(folder, laq, frames, tmp_path):
    np.save(tmp_path / "frames.npy", frames[:BATCH])
    program = (
        "import importlib.util; assert importlib.util.find_spec('grain') is None;"
        f"import lam, numpy as np; laq = lam.load({str(folder)!r}); laq.batch_size = {BATCH};"
        f"print(laq.encode(np.load({str(tmp_path / 'frames.npy')!r})).tolist())"
    )
    tokens = fresh(program, without=(*HEAVY, "tensorboard", "matplotlib"))
    assert tokens.strip() == str(laq.encode(frames[:BATCH]).tolist())
