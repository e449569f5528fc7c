"""lam.convert laq: LAPA's names to our tree and back, strict; what its files are good for.

tests/data/lapa_names.txt: names and shapes of the published size, `*` for each of its 8 layers;
tests/data/lapa.npz: what LAPA's code answers, see tests/record_lapa.py.
"""

import json
import os
import pathlib

import jax
import numpy as np
import pytest
from lapa_fixtures import CASES, frames_of, model_of, random_arrays
from train_fixtures import config_of

import lam
from lam import api, command, train
from lam.convert import __main__ as program
from lam.convert import files
from lam.convert import laq as convert
from lam.errors import UserError
from lam.models import laq_weights, weights
from lam.models.laq import LAQ

DATA = pathlib.Path(__file__).parent / "data"
NAME = "dec_spatial_transformer.layers.1.2.to_kv.weight"


def equal(one, other):
    assert one.keys() == other.keys()
    for name, x in one.items():
        np.testing.assert_array_equal(other[name], x, strict=True)


@pytest.fixture(scope="module")
def arrays():
    """LAPA's arrays of case "4"."""
    return random_arrays(*model_of("4"))


def test_names_and_shapes_are_the_published_ones():
    """All 493 of the released size, and its 343,796,080 parameters; nothing is allocated."""
    published = {}
    for line in (DATA / "lapa_names.txt").read_text().splitlines():
        name, _, sizes = line.partition(" ")
        for layer in map(str, range(8 if "*" in name else 1)):
            published[name.replace("*", layer)] = tuple(map(int, sizes.split(",")))
    model = LAQ(**convert.NEEDED, width=1024, encoder_depth=8, decoder_depth=8, heads=16, patch=32)
    found = jax.eval_shape(convert.from_tree, laq_weights.shapes(model, 256))
    assert {name: x.shape for name, x in found.items()} == published
    assert len(published) == 493
    assert sum(x.size for n, x in found.items() if not n.endswith("beta")) == 343_796_080
    assert convert.model_of(found, 256, "it") == model


@pytest.mark.parametrize("case", CASES)
def test_there_and_back_is_identical(case):
    model, size = model_of(case)
    arrays = random_arrays(model, size)
    found, params = convert.to_tree({f"module.{k}": x for k, x in arrays.items()}, size)
    assert found == model
    equal(arrays, {name: np.asarray(x) for name, x in convert.from_tree(params).items()})
    null = params["net"]["dec_spatial"]["block_0"]["cross"][
        "null_kv"
    ]  # [key or value, which, A, K]
    theirs = arrays["dec_spatial_transformer.layers.0.2.null_kv"]  # rows key, value, key, value
    np.testing.assert_array_equal(null[1, 0, 1], theirs[1, 1])


@pytest.mark.parametrize("case", CASES)
def test_recorded_answers_agree(tmp_path, case):
    """LAPA's own answers through a file and `lam.load`: every token, and frames within 1e-4."""
    model, size = model_of(case)
    recorded = np.load(DATA / "lapa.npz")
    files.write(tmp_path / "a.npz", random_arrays(model, size))
    convert.convert(tmp_path / "a.npz", tmp_path / "b.safetensors", size)
    laq = lam.load(tmp_path / "b.safetensors")
    tokens = recorded[f"tokens_{case}"]
    assert len(np.unique(tokens)) > 3, "these weights would show nothing"
    frames = frames_of(len(tokens), size)
    laq.batch_size = len(tokens)
    np.testing.assert_array_equal(laq.encode(frames), tokens)
    recon = laq.task.model.apply(
        {"params": laq.variables["params"]}, frames[:2, 0] / np.float32(255), tokens[:2],
        method="decode",
    )  # fmt: skip
    found = np.asarray(recon)[:, ::8, ::8]
    np.testing.assert_allclose(found, recorded[f"recon_{case}"], atol=1e-4, rtol=0)
    assert laq.decode(frames[:2, 0], tokens[:2]).dtype == np.uint8


@pytest.mark.parametrize("quirk", ["encode", "decode"])
def test_quirks_matter(arrays, quirk):
    """Without them, the same parameters say something else."""
    model, params = convert.to_tree(arrays, 32)
    frames = frames_of(2, 32).astype(np.float32) / 255
    if quirk == "encode":
        given, least = (frames[:, 0], frames[:, 1]), 0.1
    else:
        given, least = (frames[:, 0], np.array([[0, 1, 2, 3]] * 2)), 1e-3
    with_, without = (
        LAQ(**{**laq_weights.facts(model), "quirks": on}).apply(
            {"params": params}, *given, method=quirk
        )
        for on in (True, False)
    )
    assert np.abs(np.asarray(with_) - np.asarray(without)).max() > least


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pt"])
def test_files_of_all_kinds(tmp_path, capsys, arrays, kind):
    if kind == "pt" and not os.environ.get("LAM_ORACLES"):
        pytest.skip("needs torch: bash launch/test.sh --oracles")
    source, ours, back = (
        str(tmp_path / name)
        for name in (f"a.{kind}", "b.safetensors", f"c.{kind.replace('safetensors', 'npz')}")
    )
    files.write(source, {f"module.{name}": x for name, x in arrays.items()})
    program.main(["laq", source, ours, "--image_size=32"])
    program.main(["laq", ours, back])
    equal(arrays, files.read(back))
    said = capsys.readouterr().out
    assert "our names, 213,650 parameters, width 32, depth 2, 2 heads, 4 tokens of 8 codes" in said
    assert "LAPA's names" in said
    _, about = weights.read(ours)
    assert about["source"] == f"a.{kind}"
    assert json.loads(about["laq"])["image_size"] == 32


def test_half_precision_halves_the_file(tmp_path, arrays):
    files.write(tmp_path / "a.npz", arrays)
    for dtype in ("float32", "float16"):
        convert.convert(tmp_path / "a.npz", tmp_path / f"{dtype}.safetensors", 32, dtype)
    whole, half = (tmp_path / f"float{n}.safetensors" for n in (32, 16))
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    params = laq_weights.read(half)[2]
    np.testing.assert_allclose(params["bottleneck"]["codebook"][0], arrays["vq.codebooks"], 1e-3)


def without(arrays, *names):
    return {key: x for key, x in arrays.items() if key not in names}


def spoiled(case, arrays):
    """Arrays with something wrong, and what must be said of it."""
    beta = "enc_spatial_transformer.norm_out.beta"
    short = [name for name in arrays if name.startswith("enc_temporal_transformer.layers.1.")]
    return {
        "missing": (without(arrays, NAME), f"1 missing: {NAME}"),
        "unexpected": (arrays | {"head.weight": np.zeros(3)}, "1 unexpected: head.weight"),
        "shape": (arrays | {NAME: arrays[NAME][1:]}, rf"{NAME} \[255, 32\] for \[256, 32\]"),
        "foreign": ({"conv.weight": np.zeros(3)}, "is no quantizer of LAPA's, which has matrices"),
        "biased": (arrays | {beta: arrays[beta] + 1}, f"{beta} must be zero"),
        "depths": (without(arrays, *short), "equally deep, but are: enc_spatial 2, enc_temporal 1"),
        "grid": (without(arrays, "vq.cnn_encoder.2.weight"), "4 pixels and no last convolution"),
    }[case]


@pytest.mark.parametrize(
    "case", ["missing", "unexpected", "shape", "foreign", "biased", "depths", "grid"]
)
def test_arrays_that_do_not_fit_are_listed(tmp_path, arrays, case):
    found, message = spoiled(case, arrays)
    files.write(tmp_path / "a.npz", found)
    with pytest.raises(UserError, match=message) as caught:
        convert.convert(tmp_path / "a.npz", tmp_path / "b.safetensors", 32)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["laq", "a.npz", "b.npz"], "a.npz: to LAPA's names it must be a .safetensors file"),
        (["laq", "a.bin", "b.safetensors"], "a.bin: a name must end in one of"),
        (["laq", "a.npz", "b.safetensors"], "a.npz: there is no such file"),
        (["laq", "a.safetensors", "b.pt"], "a.safetensors is no .safetensors file"),
        (["laq", "a.npz", "b.safetensors", "--names=lam"], "--names=lam"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        command.run(lambda: program.main(arguments))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_lam_load_does_not_take(tmp_path, arrays):
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match=r"is no .safetensors file"):
        lam.load(path)
    files.write(path, arrays)
    with pytest.raises(UserError, match=r"does not say which LAQ it holds: run python -m lam"):
        lam.load(path)
    model, params = convert.to_tree(arrays, 32)
    laq_weights.write(path, {"net": params["net"]}, model, 32)
    with pytest.raises(UserError, match=r"1 missing: params/bottleneck/codebook"):
        lam.load(path)
    with pytest.raises(UserError, match=r"has no step 3"):
        lam.load(path, step=3)


@pytest.fixture(scope="module")
def started(tabletop, tmp_path_factory, arrays):
    """(file of weights, config, workdir) of a run that began with the file, after one step."""
    folder = tmp_path_factory.mktemp("started")
    path = folder / "laq.safetensors"
    model, params = convert.to_tree(arrays, 32)
    laq_weights.write(path, params, model, 32)
    config = config_of(tabletop["array_record"], total_steps=1)
    fields = laq_weights.facts(model)
    config.model.update({k: v for k, v in fields.items() if k in config.model})
    config.model.update(start=str(path), follow_rate=0.0, noise_warmup=0)
    config.data.image_size = 32
    config.optim.update(warmup_steps=0, schedule="constant", lr=1e-6)
    train.train_and_evaluate(config, folder / "run")
    return path, config, folder / "run"


def test_a_run_begins_with_a_file(started):
    """One step of 1e-6 moves no parameter further than that; codes are those of the file, too."""
    path, _, run = started
    given, found = lam.load(path).variables["params"], lam.load(run).variables["params"]
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), given, found)
    assert 0 < max(jax.tree.leaves(moved)) < 2e-6


def test_the_baseline_without_training_does_not_begin_with_the_file(started, monkeypatch, tmp_path):
    """What is compared with must not know what the file knows."""
    path, config, _ = started
    config = config.copy_and_resolve_references()
    config.total_steps, made = 1, []
    monkeypatch.setattr(train.evaluation, "build", lambda *given: made.append(given[-1]) or {})
    train.train_and_evaluate(config, tmp_path)
    blank = made[0]().params
    given = lam.load(path).variables["params"]
    apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), given, blank)
    assert apart["net"]["patch_dense"]["kernel"] > 0.05
    assert apart["bottleneck"]["codebook"] > 0.05


def test_a_trained_model_goes_back_to_lapas_names(tmp_path, started):
    lam.load(started[2]).save(tmp_path / "a.safetensors")
    said = convert.convert(tmp_path / "a.safetensors", tmp_path / "b.npz")
    assert "LAPA's names, 213,650 parameters" in said
    assert isinstance(lam.load(tmp_path / "a.safetensors"), api.LatentActions)
    model, size = model_of("4")
    assert files.read(tmp_path / "b.npz").keys() == random_arrays(model, size).keys()
    with pytest.raises(UserError, match=r"a.npz: a file of weights must end in .safetensors"):
        lam.load(started[2]).save(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 64}, r"is of another model: set config.model.width=32 \(now 64\)"),
        ({"quirks": False, "num_codes": 4}, r"num_codes=8 \(now 4\), config.model.quirks=True"),
        ({"start": "gone.safetensors"}, r"gone.safetensors is no .safetensors file"),
    ],
)
def test_a_start_that_does_not_fit(started, changes, message):
    config = started[1].copy_and_resolve_references()
    config.model.update(changes)
    batch = {"frames": jax.ShapeDtypeStruct((2, 2, 32, 32, 3), np.uint8)}
    with pytest.raises(UserError, match=message):
        jax.eval_shape(train.make_task(config).init, jax.random.key(0), batch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "joint"}, r"quirks is for config.model.encoder=lapa \(now joint\)"),
        ({"num_tokens": 9}, r"num_tokens in 1, 2, 4, 16, 64, 256 \(now 9\)"),
    ],
)
def test_quirks_where_there_are_none(started, changes, message):
    config = started[1].copy_and_resolve_references()
    config.model.update(changes)
    with pytest.raises(UserError, match=message):
        train.make_task(config)


def test_quirks_have_published_grids():
    with pytest.raises(UserError, match=r"16 tokens of 8x8 patches, published are 1, 2 or 4 of"):
        laq_weights.shapes(model_of("16")[0], 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quirks": False}, "LAPA's module has no quirks=False but True$"),
        (
            {"decoder_depth": 1, "shared_codebook": False},
            "no shared_codebook=False but True, no de",
        ),
        ({"encoder": "joint", "quirks": False, "patch": 8}, "no encoder=joint but lapa, no quirks"),
        ({"action_dims": 2}, "LAPA's module has no action_dims=2 but 0$"),
    ],
)
def test_models_that_lapa_cannot_hold(tmp_path, changes, message):
    model, size = model_of("4", **changes)
    like = laq_weights.shapes(model, size)
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
    laq_weights.write(tmp_path / "a.safetensors", params, model, size)
    with pytest.raises(UserError, match=message):
        convert.convert(tmp_path / "a.safetensors", tmp_path / "b.npz")
