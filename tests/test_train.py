"""The loop as a whole, on the debug model: exact resume, stopping, bad numbers, finished runs."""

import os
import signal
import subprocess
import threading
import time

import jax
import numpy as np
import pytest
from interpreter import fresh
from train_fixtures import assert_same, command, config_of, leaves, lines

from lam import checkpoint, train, workdir
from lam.errors import UserError


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_stopped_and_resumed_equals_straight_through_bit_for_bit(tabletop, tmp_path, file_format):
    source = tabletop[file_format]
    extras = {"ema": 0.9, "model.reseed_every": 2, "grad_accum": 2, "optim.schedule": "cosine"}
    train.train_and_evaluate(config_of(source, checkpoint_every=3, **extras), tmp_path / "straight")
    assert train.train_and_evaluate(config_of(source, stop_at=3, **extras), tmp_path / "two") == {}
    assert checkpoint.steps(tmp_path / "two") == [3]
    # the straight run went on while its checkpoint was being written
    assert_same(leaves(tmp_path / "straight", 3), leaves(tmp_path / "two", 3))
    train.train_and_evaluate(config_of(source, **extras), tmp_path / "two")
    assert_same(leaves(tmp_path / "straight", 6), leaves(tmp_path / "two", 6))
    straight, two = lines(tmp_path / "straight"), lines(tmp_path / "two")
    assert [row["step"] for row in two] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in two] == [row["loss"] for row in straight]


def test_a_finished_run_is_evaluated_not_trained(tabletop, tmp_path):
    config = config_of(tabletop["array_record"], total_steps=2)
    config.evals = {"codes": {"type": "codes", "batches": 1}}
    config.data.val_fraction = 0.3
    first = train.train_and_evaluate(config, tmp_path)
    again = train.train_and_evaluate(config, tmp_path)
    evaluated = train.train_and_evaluate(config, tmp_path, mode="eval")
    assert first == again == evaluated
    assert "codes/perplexity_min" in first
    assert (tmp_path / "evals" / "codes" / "2" / "counts.png").exists()


def test_loss_falls_and_metrics_are_complete(tabletop, tmp_path):
    config = config_of(tabletop["array_record"], total_steps=60, log_every=20)
    config.peak_tflops = 0.1
    train.train_and_evaluate(config, tmp_path)
    rows = lines(tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"]
    wanted = {"step", "loss", "mse", "grad_norm", "learning_rate", "steps_per_second"}
    wanted |= {"pairs_per_second", "input_wait", "mfu", "host_memory_gb"}
    assert wanted <= rows[-1].keys()
    assert 0 <= rows[-1]["input_wait"] <= 1
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert {"config.json", "run.json"} <= {p.name for p in tmp_path.iterdir()}


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(tabletop, tmp_path, monkeypatch):
    config = config_of(tabletop["array_record"], stop_at=2)
    train.train_and_evaluate(config, tmp_path)
    good = leaves(tmp_path, 2)
    config.stop_at, config.checkpoint_every = 0, 1
    restore = checkpoint.restore

    def poisoned(*args):
        state, position = restore(*args)
        return state.replace(params=jax.tree.map(lambda x: x * np.nan, state.params)), position

    monkeypatch.setattr(checkpoint, "restore", poisoned)
    with pytest.raises(UserError, match=r"^step 3: loss nan.*keys tabletop/.*checkpoints/2$"):
        train.train_and_evaluate(config, tmp_path)
    assert checkpoint.steps(tmp_path) == [2]
    assert_same(good, leaves(tmp_path, 2))


def test_another_config_is_refused_by_name(tabletop, tmp_path):
    config = config_of(tabletop["array_record"])
    workdir.prepare(tmp_path, config)
    config.seed = 1  # nothing is recorded before a run begins
    workdir.prepare(tmp_path, config)
    workdir.record(tmp_path, config, "")
    config.log_every = 7  # free to change
    workdir.prepare(tmp_path, config)
    config.model.width = 32
    with pytest.raises(UserError, match=r"model.width: 16 there, 32 here"):
        workdir.prepare(tmp_path, config)


def test_sigterm_saves_and_returns(tabletop, tmp_path):
    config = config_of(tabletop["array_record"], total_steps=100_000, checkpoint_every=0)

    def kill_when_running():
        while not (tmp_path / "metrics.jsonl").exists() or not lines(tmp_path):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=kill_when_running, daemon=True).start()
    try:
        assert train.train_and_evaluate(config, tmp_path) == {}
    finally:
        signal.signal(signal.SIGTERM, before)
    assert checkpoint.steps(tmp_path)[-1] == lines(tmp_path)[-1]["step"]


@pytest.mark.timeout(240)
def test_killed_at_random_moments_it_always_resumes(tabletop, tmp_path):
    """kill -9 five times while a checkpoint is saved at every step."""
    source = tabletop["array_record"]
    run_it = command(source, tmp_path, total_steps=1_000_000, checkpoint_every=1)
    rng, reached = np.random.default_rng(0), 0
    for _ in range(5):
        with subprocess.Popen(run_it, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
            try:
                wait_for_step(tmp_path, reached + 1, run)
                time.sleep(rng.uniform(0, 0.4))
            finally:
                run.kill()
            assert b"Traceback" not in run.stderr.read()
        kept = checkpoint.steps(tmp_path)[-1]
        assert kept >= reached
        assert all(np.isfinite(x).all() for x in leaves(tmp_path, kept).values())
        reached = kept


def wait_for_step(path, step, run):
    while not (steps := checkpoint.steps(path)) or steps[-1] < step:
        assert run.poll() is None, run.stderr.read().decode()
        time.sleep(0.02)


def test_training_from_array_record_leaves_tensorflow_out(tabletop, tmp_path):
    source = str(tabletop["array_record"])
    program = f"""
import sys
sys.path.insert(0, "tests")
from train_fixtures import config_of
from lam import train
config = config_of({source!r}, total_steps=2)
train.train_and_evaluate(config, {str(tmp_path)!r})
print("tensorflow" in sys.modules)
"""
    assert fresh(program).strip() == "False"
