"""lam.label: every pair once, the tokens of the model, the same bytes however they were written."""

import json
import subprocess
import sys

import numpy as np
import pytest
from interpreter import ROOT
from pyarrow import parquet
from raft_fixtures import random_weights
from train_fixtures import config_of

import lam
from input_pipeline import ordered
from lam import label, train
from lam.errors import UserError
from lam.flow import weights

BATCH, ROWS = 8, 32  # of a batch, of a shard


@pytest.fixture(scope="module")
def run(tabletop, tmp_path_factory):
    """(config, workdir) of two steps on a set of 18 episodes of 8 steps: 108 pairs."""
    config, folder = (
        config_of(tabletop["array_record"], total_steps=2),
        tmp_path_factory.mktemp("run"),
    )
    train.train_and_evaluate(config, folder)
    return config, folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(label, "ROWS", ROWS)


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """The folder that one process has written at once."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label, "ROWS", ROWS)
        said = label.label(run[1], folder, run[0], batch=BATCH, latents=True)
    assert said.startswith("108 pairs, ")
    assert said.endswith("_manifest.json")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_pair_has_the_tokens_of_the_model(run, whole):
    config, folder = run
    laq = lam.load(folder)
    found = parquet.read_table(whole)
    rows = {(r["episode"], r["step"]): r for r in found.to_pylist()}
    assert len(rows) == found.num_rows == 108
    for batch in ordered.pairs(config.data, 50):
        tokens = laq.encode(batch["frames"])
        for key, dt, expected in zip(batch["key"], batch["dt"], tokens, strict=True):
            episode, _, step = key.rpartition("@")
            row = rows[episode, int(step)]
            assert row["tokens"] == expected.tolist()
            assert (row["gap"], row["seconds"]) == (2, pytest.approx(dt))
            assert len(row["latents"]) == 4 * 2
    assert len({tuple(r["tokens"]) for r in rows.values()}) > 3


def test_the_manifest_tells_all(whole):
    manifest = json.loads((whole / "_manifest.json").read_text())
    names = [f"tokens-{i:05d}-of-00004.parquet" for i in range(4)]
    assert [shard["file"] for shard in manifest["shards"]] == names
    assert [shard["rows"] for shard in manifest["shards"]] == [32, 32, 32, 12]
    assert manifest["settings"]["step"] == 2
    assert manifest["settings"]["pairs"] == 108
    columns = [name for name in manifest["columns"] if name != "flow_..."]
    assert set(parquet.read_schema(whole / names[0]).names) == set(columns)


def test_two_processes_write_the_same_bytes(run, whole, tmp_path):
    options = {"batch": BATCH, "latents": True, "processes": 2}
    said = label.label(run[1], tmp_path, run[0], process=1, **options)
    assert said.startswith("44 pairs")
    assert said.endswith("other processes have shards to write")
    assert not (tmp_path / "_manifest.json").exists()
    label.label(run[1], tmp_path, run[0], process=0, **options)
    assert contents(tmp_path) == contents(whole)


def test_interrupted_and_resumed_is_uninterrupted(run, whole, tmp_path, monkeypatch):
    write, written = parquet.write_table, []

    def dies(rows, path):
        if len(written) == 2:
            path.write_bytes(b"half a shard")
            raise KeyboardInterrupt
        written.append(path)
        write(rows, path)

    monkeypatch.setattr(parquet, "write_table", dies)
    with pytest.raises(KeyboardInterrupt):
        label.label(run[1], tmp_path, run[0], batch=BATCH, latents=True)
    monkeypatch.setattr(parquet, "write_table", write)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    said = label.label(run[1], tmp_path, run[0], batch=BATCH, latents=True)
    assert said.startswith("44 pairs")
    assert contents(tmp_path) == contents(whole)
    assert label.label(run[1], tmp_path, run[0], batch=BATCH, latents=True).startswith("0 pairs")


def test_as_a_command_with_other_data_and_flow(run, tabletop, tmp_path):
    teacher = tmp_path / "w.safetensors"
    weights.save(teacher, random_weights("small"), "small")
    command = [
        sys.executable,
        "-m",
        "lam.label",
        f"--workdir={run[1]}",
        f"--out={tmp_path / 'out'}",
        f"--flow={teacher}",
    ]
    command += [f"--config.data.sources={tabletop['array_record']}", "--config.data.gap=3"]
    done = subprocess.run([*command, "--split=val"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = parquet.read_table(tmp_path / "out")
    assert set(found["gap"].to_pylist()) == {3}
    assert 0 < found.num_rows < 90
    assert "latents" not in found.column_names
    assert np.isfinite(found["flow_raw_weighted_x"].to_numpy()).all()
    again = subprocess.run([*command, "--split=all"], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 1
    assert "split: val there, all here" in again.stderr
    assert again.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "INFO" not in again.stderr


def test_mistakes_are_told_in_one_line(run, tmp_path):
    with pytest.raises(UserError, match=r"--process=2 must be in 0\.\.1"):
        label.label(run[1], tmp_path, run[0], process=2, processes=2)
    other = run[0].copy_and_resolve_references()
    other.data.image_size = 32
    with pytest.raises(UserError, match="image_size=32 is not that of the run: use 16"):
        label.label(run[1], tmp_path / "out", other)
    (tmp_path / "config.json").write_text((run[1] / "config.json").read_text())
    with pytest.raises(UserError, match="No checkpoint under"):
        label.label(tmp_path, tmp_path / "out", run[0])
    with pytest.raises(UserError, match="--workdir=RUN is needed"):
        label.main(["label", "--out=x"])
    with pytest.raises(UserError, match=r"is no workdir of lam\.main"):
        label.main(["label", f"--workdir={tmp_path / 'none'}", "--out=x"])
    assert not list(tmp_path.rglob("*.parquet"))
