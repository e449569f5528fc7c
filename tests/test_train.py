"""The loop as a whole, on the debug model: exact resume, stopping, bad numbers, finished runs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from configs import laq
from lam import checkpoint, train, workdir
from lam.errors import UserError


def config_of(source, **changes):
    """The debug config on a data set, without evaluators."""
    config = laq.get_config("debug")
    config.data.sources = str(source)
    config.data.gap = 2
    config.evals = {}
    config.update_from_flattened_dict(changes)
    return config


def leaves(path, step):
    """Everything a checkpoint holds, as {path: array}."""
    import orbax.checkpoint as ocp

    found = {}
    for item in ("params", "train"):
        with ocp.StandardCheckpointer() as reader:
            tree = reader.restore(checkpoint.folder(path) / str(step) / item)
        for key, leaf in jax.tree.leaves_with_path(tree):
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)
            found[item + jax.tree_util.keystr(key)] = np.asarray(leaf)
    return found


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def lines(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_stopped_and_resumed_equals_straight_through_bit_for_bit(tabletop, tmp_path, file_format):
    source = tabletop[file_format]
    extras = {"ema": 0.9, "model.reseed_every": 2, "grad_accum": 2}
    train.train_and_evaluate(config_of(source, **extras), tmp_path / "straight")
    assert train.train_and_evaluate(config_of(source, stop_at=3, **extras), tmp_path / "two") == {}
    assert checkpoint.steps(tmp_path / "two")[-1] == 3
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
    config.optim.lr = 3e-3
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


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(tabletop, tmp_path):
    config = config_of(tabletop["array_record"], stop_at=2)
    train.train_and_evaluate(config, tmp_path)
    good = leaves(tmp_path, 2)
    config.stop_at = 0
    config.optim.lr = 1e38  # another learning rate is another config, so tell the workdir
    text = json.dumps(config.to_dict(), default=list)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"step \d: .*batch keys tabletop/.*checkpoints/\d"):
        train.train_and_evaluate(config, tmp_path)
    for step in checkpoint.steps(tmp_path):
        assert all(np.isfinite(x).all() for x in leaves(tmp_path, step).values())
    assert_same(good, leaves(tmp_path, 2))


def test_another_config_is_refused_by_name(tabletop, tmp_path):
    config = config_of(tabletop["array_record"])
    workdir.prepare(tmp_path, config)
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
    command = [
        *(sys.executable, "-m", "lam.main", "--config=configs/laq.py:debug"),
        *(f"--workdir={tmp_path}", f"--config.data.sources={tabletop['array_record']}"),
        *("--config.total_steps=1000000", "--config.data.gap=2", "--config.log_every=1"),
        *(f"--config.evals.{name}.type=" for name in ("reconstruction", "codes")),
        *(f"--config.evals.{name}.type=" for name in ("motion", "pictures")),
    ]
    rng, reached = np.random.default_rng(0), 0
    for _ in range(5):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
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
