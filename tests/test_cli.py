"""Mistakes of a user: one line that begins with "error:", status 1, and nothing trained."""

import json
import os
import subprocess
import sys

import pytest
from interpreter import ROOT
from train_fixtures import CHANGES, command, config_of

from input_pipeline.errors import DataError
from lam import cli, train, workdir
from lam.errors import UserError

CONFIG = "--config=configs/laq.py:debug"
WORKDIR = "--workdir=nowhere"


def said(*options, cwd=ROOT):
    """The one line with which the program refuses these options."""
    done = subprocess.run(
        [sys.executable, "-m", "lam.main", *options], cwd=cwd, capture_output=True, text=True,
        timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    *before, last = done.stderr.splitlines()
    assert not any(line.startswith("error:") for line in before)
    return last


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([CONFIG, WORKDIR, "--config.modle.width=3"], 'Did you mean "model" instead of "modle"?'),
        (
            [CONFIG, WORKDIR, "--config.batch_size=many"],
            "batch_size=many: invalid literal",
        ),
        (["--config=configs/laq.py:tinny", WORKDIR], "no variant 'tinny' of configs/laq.py: use"),
        (["--config=configs/lq.py", WORKDIR], "no config file configs/lq.py; give one of your own"),
        (["--config", "configs/lq.py", WORKDIR], "or one of: configs/common.py,"),
        ([CONFIG, WORKDIR, "extra"], "not understood: extra; options begin with --config."),
        ([CONFIG], "Flag --workdir must have a value"),
        ([CONFIG, WORKDIR, "--mode=test"], "--mode=test: value should be one of <train|eval>"),
    ],
)
def test_options_that_cannot_be(options, wanted):
    last = said(*options)
    assert last.startswith("error: ")
    assert wanted in last


def test_processes_without_a_meeting_place():
    assert "give each --coordinator=HOST:PORT" in said(CONFIG, WORKDIR, "--multihost")


def test_a_mistake_that_only_the_run_can_see(tabletop, tmp_path):
    last = said(*command(tabletop["array_record"], tmp_path / "run", **{"mesh.tensor": 3})[3:])
    assert last == (
        "error: mesh data=-1 x fsdp=1 x tensor=3 needs a multiple of 3 devices, but there are 1: "
        "set config.mesh.data, .fsdp and .tensor so that their product is that number"
    )


def test_the_installed_config_is_found_from_another_folder(tabletop, tmp_path):
    """Far enough to be refused for the sources, which come after the config."""
    changes = CHANGES | {"data.sources": tmp_path}
    options = [f"--config.{key}={value}" for key, value in changes.items()]
    last = said(CONFIG, "--workdir=run", *options, cwd=tmp_path)
    assert str(tmp_path) in last
    assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run" / "config.json").exists()  # another try is not "another config"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"mesh.data": 2, "mesh.fsdp": 2}, r"mesh data=2 x fsdp=2 x tensor=1 .* 4 devices.* are 1"),
        ({"mesh.data": -1, "mesh.fsdp": -1}, r"every size must be at least 1, and one may be -1"),
        ({"grad_accum": 3}, r"batch_size 8 is not divisible by .* 1 shards times grad_accum = 3"),
        ({"batch_size": 0}, r"config.batch_size=0 and config.grad_accum=1 must be at least 1"),
        ({"total_steps": 0}, r"config.total_steps=0 must be at least 1"),
        ({"best_mode": "least"}, r"config.best_mode=least must be min or max"),
        ({"ema": 1.0}, r"config.ema=1.0 must be at least 0 and below 1"),
        ({"task": "lag"}, r"No lam.tasks.lag. Did you mean 'laq'\?"),
        ({"optim.name": "adamm"}, r"No optim.name 'adamm'. Did you mean 'adam'\? .*adamw"),
        ({"optim.schedule": "cosin"}, r"No optim.schedule 'cosin'. Did you mean 'cosine'\?"),
        ({"evals.codes.type": "code"}, r"No lam.evaluators.code. Did you mean 'codes'\?"),
        ({"model.dtype": "float8"}, r"No model.dtype 'float8'.*bfloat16, float32"),
        ({"model.encoder": "lap"}, r"No model.encoder 'lap'. Did you mean 'lapa'\?"),
        ({"model.heads": 3}, r"config.model.width=16 must be a multiple of config.model.heads=3"),
        ({"model.patch": 6}, r"config.data.image_size=16 must be a multiple of .*patch=6"),
        ({"model.patch": 1}, r"patch=1, which must be even"),
        ({"data.gap": 100}, r"config.data.gap=100 with .* is longer than every episode"),
        ({"data.on_corrupt": "ignore"}, r"on_corrupt=ignore must be one of: error, skip"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configs_that_cannot_be(tabletop, tmp_path, changes, wanted):
    with pytest.raises((UserError, DataError), match=wanted) as caught:
        train.train_and_evaluate(config_of(tabletop["array_record"], **changes), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "metrics.jsonl").exists()
    assert not (tmp_path / "config.json").exists()


def test_a_folder_that_is_no_data_set(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}"):
        train.train_and_evaluate(config_of(tmp_path), tmp_path / "run")


def test_a_workdir_that_is_a_file(tabletop, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="cannot be a folder"):
            train.train_and_evaluate(config_of(tabletop["array_record"]), folder)


def test_a_workdir_that_is_an_address(tabletop):
    with pytest.raises(UserError, match="gs://bucket/run must be a folder of a mounted disk"):
        train.train_and_evaluate(config_of(tabletop["array_record"]), "gs://bucket/run")


def test_a_workdir_whose_config_is_damaged(tabletop, tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(UserError, match=r"config\.json is damaged .*: remove it or give another"):
        train.train_and_evaluate(config_of(tabletop["array_record"]), tmp_path)


def test_a_workdir_of_another_run(tabletop, tmp_path):
    config = config_of(tabletop["array_record"])
    workdir.record(tmp_path, config, "")
    config.optim.lr = 1.0
    with pytest.raises(UserError, match=r"optim.lr: 0.003 there, 1.0 here\): give another --work"):
        train.train_and_evaluate(config, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["optim"]["lr"] == 0.003


def test_evaluating_what_was_never_trained(tabletop, tmp_path):
    with pytest.raises(UserError, match=r"No checkpoint under .*/run/checkpoints: train first"):
        train.train_and_evaluate(config_of(tabletop["array_record"]), tmp_path / "run", mode="eval")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("bad"), "error: bad"),
        (DataError("bad"), "error: bad"),
        (PermissionError(13, "Permission denied", "/x"), "error: Permission denied (/x)"),
        (KeyboardInterrupt(), "error: interrupted"),
    ],
)
def test_what_ends_a_program(error, status, monkeypatch):
    monkeypatch.setattr(cli, "parse", lambda argv: None)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)

    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        cli.run(main, ["program"])
    assert caught.value.code == status


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli, "parse", lambda argv: None)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0, ["program"])
