"""A full disk: one line that says where and what is left, and nothing half-written is taken."""

import errno
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from train_fixtures import command, config_of, leaves, lines

from lam import checkpoint, train, workdir
from lam.errors import UserError

WITH_SMALL_FILES = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
runpy.run_module("lam.main", run_name="__main__", alter_sys=True)
"""


def run_with_small_files(limit, *arguments, **changes):
    """Runs the program where no file may grow beyond `limit` bytes: (exit status, stderr)."""
    python, _, _, *options = command(*arguments, **changes)
    done = subprocess.run(
        [python, "-c", WITH_SMALL_FILES.format(limit=limit), *options],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.splitlines()


def test_a_checkpoint_that_does_not_fit_ends_the_run_and_the_one_before_is_good(tabletop, tmp_path):
    source, changes = tabletop["array_record"], {"total_steps": 8}
    train.train_and_evaluate(config_of(source, stop_at=2, **changes), tmp_path)
    good = leaves(tmp_path, 2)
    status, said = run_with_small_files(20_000, source, tmp_path, checkpoint_every=2, **changes)
    assert status == 1
    assert [line.startswith("error: ") for line in said].count(True) == 1
    assert said[-1].startswith(f"error: {tmp_path} could not be written (File too large);")
    assert f"last good checkpoint: {tmp_path}/checkpoints/2;" in said[-1]
    assert checkpoint.steps(tmp_path) == [2]
    for key, value in leaves(tmp_path, 2).items():
        np.testing.assert_array_equal(value, good[key])
    train.train_and_evaluate(config_of(source, **changes), tmp_path)
    assert checkpoint.steps(tmp_path)[-1] == 8
    assert [row["step"] for row in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_metrics_that_do_not_fit_end_the_run_and_are_cut_at_the_checkpoint(tabletop, tmp_path):
    source, changes = tabletop["array_record"], {"total_steps": 100_000}
    status, said = run_with_small_files(20_000, source, tmp_path, **changes)
    assert status == 1
    assert said[-1].startswith(f"error: {tmp_path} could not be written (File too large);")
    assert "last good checkpoint: none;" in said[-1]
    assert (tmp_path / "metrics.jsonl").stat().st_size > 5_000
    train.train_and_evaluate(config_of(source, stop_at=2, **changes), tmp_path)
    assert [row["step"] for row in lines(tmp_path)] == [1, 2]


def test_room_for_the_checkpoints_is_looked_for_before_the_first_step(tmp_path, monkeypatch):
    state = {"a": jax.ShapeDtypeStruct((1000, 1000), jnp.float32), "key": jax.random.key(0)}
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=21_000_000))
    workdir.check_disk(tmp_path, state)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=19_000_000))
    with pytest.raises(UserError, match=r"0\.02 GB free, but five checkpoints need 0\.02 GB"):
        workdir.check_disk(tmp_path, state)


def test_errors_of_a_full_disk_are_told_from_others():
    full = OSError(errno.ENOSPC, "No space left on device")
    from_it = RuntimeError("save failed")
    from_it.__cause__ = full
    assert checkpoint.full_disk(full) == "No space left on device"
    assert checkpoint.full_disk(from_it) == "No space left on device"
    assert checkpoint.full_disk(ValueError("X: Disk quota exceeded [y]")) == "quota exceeded"
    assert checkpoint.full_disk(PermissionError(errno.EACCES, "Permission denied")) is None


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    workdir.write_whole(path, "old")

    def full(self, text):
        self.write_bytes(text[:2].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/config\.json'"):
        workdir.write_whole(path, "new")
    assert path.read_text() == "old"
