"""Collecting for the token analysis: what is there, the same bytes however it was written."""

import json
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from interpreter import ROOT
from ml_collections import ConfigDict
from train_fixtures import config_of

import lam
from analysis.tokens import collect, inspected, records, teacher, trials
from analysis.tokens.__main__ import chosen, main, parse
from analysis.tokens.analyses import ANALYSES
from analysis.tokens.teacher import Exact, Teacher
from configs import tokens
from input_pipeline import tabletop
from input_pipeline.errors import DataError
from lam import train
from lam.errors import UserError
from lam.ops import motion

FEW = {"samples": 20, "pictures": 24, "batch": 8, "updates": 1, "inspected": 3, "support": 2}
TRIALS = {"firsts": 3, "transfer": 2, "swap": 3, "order": 3}


@pytest.fixture(scope="module")
def run(tabletop, tmp_path_factory):
    """(config, workdir) of two steps on a set of 18 episodes of 8 steps: 108 pairs."""
    config = config_of(tabletop["array_record"], total_steps=2)
    folder = tmp_path_factory.mktemp("run")
    train.train_and_evaluate(config, folder)
    return config, folder


def shift(first, second, updates):
    """In place of the teacher, which is slow to compile: the shift of what is bright."""
    del updates
    y, x = np.mgrid[: first.shape[1], : first.shape[2]]
    centres = [
        np.stack([(f.sum(axis=-1) * axis).mean(axis=(1, 2)) for axis in (x, y)], axis=-1) / 1000
        for f in (first.astype(np.float32), second.astype(np.float32))
    ]
    flow_N2 = (centres[1] - centres[0]).astype(np.float32)
    return np.broadcast_to(flow_N2[:, None, None], (*first.shape[:3], 2)).copy()


@pytest.fixture(scope="module", autouse=True)
def quick_teacher():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "load", lambda name: shift)
        yield


def settings(run, **changes):
    """The two configs that `collect` is given."""
    config = tokens.get_config("smoke")
    config.update(FEW | changes)
    config.trials.update(TRIALS)
    config.data = ConfigDict(run[0].data)
    return config, run[0]


def collected(run, folder, split="all", flow="exact", **changes):
    return collect.collect(run[1], folder, *settings(run, **changes), split, flow)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """A folder that was collected at once."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    assert "60 pairs, " in collected(run, folder)
    return folder


def test_every_domain_has_its_samples_with_the_tokens_of_the_model(run, whole):
    found = records.read(whole)
    assert len(found) == 60
    assert {name: (found.domain_N == name).sum() for name in found.domains} == {
        f"tabletop/{name}": 20 for name in tabletop.DOMAINS
    }
    keys = list(zip(found.episode_N, found.columns["step"], strict=True))
    assert len(set(keys)) == 60
    assert len(np.unique(found.episode_N)) == 18
    assert (found.columns["gap"] == 2).all()
    assert found.about.teacher == "exact"
    assert found.columns["action"].shape == found.columns["state"].shape == (60, 3)
    pictures, laq = found.pictures, lam.load(run[1])
    row = pictures["row"]
    np.testing.assert_array_equal(found.columns["picture"][row], np.arange(24))
    assert (found.columns["picture"] >= 0).sum() == 24
    assert all((found.domain_N[row] == name).sum() == 8 for name in found.domains)
    np.testing.assert_array_equal(laq.encode(pictures["frames"]), found.tokens_NL[row])
    np.testing.assert_allclose(laq.latents(pictures["frames"]), pictures["latents"], atol=1e-5)


def test_tokens_of_the_untrained_model_stand_beside(whole):
    """Its codebook lies on real outputs, so that it is no collapsed one."""
    columns = records.read(whole).columns
    assert columns["tokens_random"].shape == columns["tokens"].shape
    assert (columns["tokens_random"] != columns["tokens"]).any()
    assert all(len(np.unique(column)) > 1 for column in columns["tokens_random"].T)


def test_exact_flow_is_that_of_the_generator(run, whole):
    found = records.read(whole)
    row = int(found.pictures["row"][5])
    domain, scene = found.domain_N[row].split("/")[1], None
    first = found.pictures["frames"][5, 0].astype(int)
    step = int(found.columns["step"][row])
    best = []
    for number in range(6):  # the scene whose frame it is
        scene = f"{domain}/{number:04d}"
        episode = tabletop.episode_from_seed(domain, scene, 0, steps=8)
        away = np.abs(tabletop.frames(episode, 16)[step] - first).mean()
        best.append((away, number, episode))
    episode = min(best)[2]
    exact = tabletop.flow(episode, step, 2, 16)
    expected = jax.jit(motion.summary)(exact)["median"]["weighted"]
    got = [found.columns[f"median_weighted_{axis}"][row] for axis in "xy"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(
        found.motion_N2[row], np.array(expected) / 16 / found.columns["seconds"][row], rtol=1e-4
    )


def test_killed_and_restarted_gives_the_same_bytes(run, whole, tmp_path):
    out = tmp_path / "out"
    program = (
        "import sys, json, analysis.tokens.collect as c\n"
        "from analysis.tokens.__main__ import main\n"
        "c.BATCHES = 1\nmain(sys.argv)"
    )
    options = [f"--config.{k}={v}" for k, v in FEW.items()]
    options += [f"--config.trials.{k}={v}" for k, v in TRIALS.items()]
    command = [sys.executable, "-c", program, f"--workdir={run[1]}", f"--out={out}", *options]
    command += ["--config=configs/tokens.py:smoke", "--flow=exact", "--split=all"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    try:
        began = time.monotonic()
        while len(list(out.glob("_parts/*.parquet"))) < 3 and time.monotonic() - began < 120:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    assert list(out.glob("_parts/*.parquet"))
    assert not (out / records.TABLE).exists()
    kept = sorted(out.glob("_parts/*.parquet"))[0].stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "BATCHES", 1)
        patch.setattr(collect.shutil, "rmtree", lambda folder: None)
        collected(run, out)
    assert sorted(out.glob("_parts/*.parquet"))[0].stat().st_mtime_ns == kept
    assert contents(out) == contents(whole)


def test_what_is_there_is_not_collected_again(run, whole, monkeypatch):
    monkeypatch.setattr(collect, "write_parts", None)
    before = contents(whole)
    assert "is there already" in collected(run, whole, permutations=7)
    assert contents(whole) == before
    with pytest.raises(UserError, match=r"support: 2 there, 3 here.*give another --out"):
        collected(run, whole, support=3)


def test_inspected_are_those_of_most_domains_then_the_most_frequent(whole):
    found = records.read(whole)
    tokens_NL = np.array([[0, 0]] * 24 + [[1, 1]] * 30 + [[2, 2]] * 5 + [[3, 3]])
    domain = ["a", "b"] * 12 + ["a"] * 30 + ["b"] * 5 + ["a"]
    columns = {"tokens": tokens_NL, "domain": np.array(domain)}
    rows = inspected.choose(records.Records(columns, found.about, {}), 9, support=5)
    assert [row["tokens"] for row in rows] == ["0-0", "1-1", "2-2"]
    assert [row["domains"] for row in rows] == [2, 1, 1]
    assert rows[0]["samples of b"] == 12
    assert inspected.sequences(rows) == ((0, 0), (1, 1), (2, 2))
    kept = json.loads((whole / "inspected_tokens.json").read_text())
    assert inspected.read(whole) == inspected.sequences(kept["tokens"])


def test_trials_are_what_the_model_decodes(run, whole):
    found, laq = records.read(whole), lam.load(run[1])
    held, tokens_PL = found.pictures, found.tokens_NL[found.pictures["row"]]
    tokens_SL, first_Q = held["apply_tokens"], held["apply_first"]
    assert tokens_SL.shape[1] == 4
    assert len(first_Q) == 3
    again = laq.decode(held["frames"][first_Q, 0], np.repeat(tokens_SL[:1], 3, axis=0))
    np.testing.assert_array_equal(held["apply_recon"][0], again)
    again = laq.decode(held["frames"][held["swap_first"], 0], tokens_PL[held["swap_source"]])
    np.testing.assert_array_equal(held["swap_recon"], again)
    assert held["swap_by"] == "state"
    names, episode = (found.columns[key][held["row"]] for key in ("domain", "episode"))
    one, other = held["swap_source"], held["swap_first"]
    assert (names[one] == names[other]).all()
    assert (episode[one] != episode[other]).all()
    own = held["transfer_source"] == held["transfer_first"]
    assert own.sum() == 6
    assert len(own) == 6 * 4
    assert len(held["order_names"]) == 3 + 4
    assert held["order_motion"].shape == (7, 3, 2)
    codes_LKZ = held["codes"]
    assert codes_LKZ.shape == (4, 8, 2)
    bottleneck = laq.codes(tokens_PL[:1])[0]
    np.testing.assert_allclose(codes_LKZ[np.arange(4), tokens_PL[0]], bottleneck, rtol=1e-6)


def test_the_teacher_gives_each_pair_its_own_whatever_the_batch():
    first, second = np.random.default_rng(0).integers(0, 256, (2, 5, 16, 16, 3), np.uint8)
    flow, summary = Teacher("shipped", 1, 2)(first, second, np.full(5, 0.5, np.float32))
    np.testing.assert_array_equal(flow, shift(first, second, 1))
    np.testing.assert_allclose(summary["raw"]["mean"], flow[:, 0, 0], rtol=1e-4)
    rate = flow[:, 0, 0] / 16 / 0.5
    np.testing.assert_allclose(summary["raw"]["mean_rate"], rate, rtol=1e-4)


def test_orders_change_what_they_say():
    rng = np.random.default_rng(0)
    tokens_PL = rng.integers(0, 8, (30, 4))
    picture, other = np.arange(10), np.arange(10, 20)
    made = trials.orders(tokens_PL, picture, other, rng)
    own = tokens_PL[:10]
    np.testing.assert_array_equal(made["reversed"], own[:, ::-1])
    np.testing.assert_array_equal(np.sort(made["permuted"]), np.sort(own))
    assert (made["permuted"] != own).any()
    np.testing.assert_array_equal(made["position 2"][:, 2], tokens_PL[other, 2])
    np.testing.assert_array_equal(np.delete(made["position 2"], 2, 1), np.delete(own, 2, 1))


def test_pictures_are_even_over_domains_as_far_as_there_are_any():
    members = [np.arange(5), np.arange(50), np.arange(60)]
    assert [len(x) for x in collect.even(members, 45)] == [5, 20, 20]
    assert [len(x) for x in collect.even(members, 1000)] == [5, 50, 60]


def test_mistakes_are_told_in_one_line(run, tmp_path):
    with pytest.raises(DataError, match="split 'dev' does not exist"):
        collected(run, tmp_path / "a", split="dev")
    with pytest.raises(UserError, match=r"config\.samples=0 must be at least 1"):
        collected(run, tmp_path / "b", samples=0)
    config, run_config = settings(run)
    other = run_config.copy_and_resolve_references()
    other.data.image_size = 32
    with pytest.raises(UserError, match="image_size=32 is not that of the run: use 16"):
        collect.collect(run[1], tmp_path / "c", config, other)
    (tmp_path / "config.json").write_text((run[1] / "config.json").read_text())
    with pytest.raises(UserError, match="No checkpoint under"):
        collect.collect(tmp_path, tmp_path / "d", config, run_config)
    with pytest.raises(UserError, match="collect with --workdir=RUN"):
        main(["tokens", f"--out={tmp_path / 'none'}"])
    with pytest.raises(UserError, match=r"No analysis 'compas'\. Did you mean 'compass'"):
        chosen("compas")
    with pytest.raises(UserError, match="no variant 'huge'"):
        parse(["tokens", "--config=configs/tokens.py:huge"])
    with pytest.raises(UserError, match="--out=DIR is needed"):
        main(["tokens"])


def test_a_continuous_model_has_no_tokens(run, tmp_path):
    config, run_config = settings(run)
    vae = run_config.copy_and_resolve_references()
    vae.model.quantizer = "vae"
    with pytest.raises(UserError, match="is continuous and has no tokens"):
        collect.collect(run[1], tmp_path / "a", config, vae)


def test_exact_flow_of_other_sets_is_refused():
    class Other:
        name = "bridge"

        class episode_set:
            name, fields = "bridge", {}

    with pytest.raises(UserError, match="--flow=exact is known of tabletop sets alone"):
        Exact([Other], 16, 8)


def test_the_list_of_analyses_needs_no_run(capsys):
    main(["tokens", "--list"])
    said = capsys.readouterr().out
    assert "does a token mean the same motion in every domain?" in said
    assert [line.split()[0] for line in said.splitlines()] == list(ANALYSES)
    assert len(ANALYSES) == 15
