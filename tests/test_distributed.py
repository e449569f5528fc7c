"""Many devices, several processes, another mesh: the same numbers, every episode once an epoch."""

import json
import os
import shutil
import socket
import subprocess

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P
from train_fixtures import command, config_of, leaves, lines

from input_pipeline.batch import device_part
from lam import checkpoint, optim, sharding, step, train

MESH = {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2}
EPISODES = 15  # for training in the built-in set of the fixture
BATCH = 8
TOLERANCE = 1e-5
RECORDER = """
import json, runpy, sys
from lam import metrics
path, add = sys.argv.pop(1), metrics.Meter.add
def recorded(self, step, scalars, keys):
    with open(path, "a") as file:
        file.write(json.dumps(list(keys)) + chr(10))
    add(self, step, scalars, keys)
metrics.Meter.add = recorded
runpy.run_module("lam.main", run_name="__main__", alter_sys=True)
"""


def start(arguments, devices=1):
    """The program in a process of its own with so many fake devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags}
    return subprocess.Popen(
        arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(processes, seconds=120):
    """Waits for all; kills them whatever happens, as SIGTERM does not end processes of a group."""
    try:
        errors = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stderr.close()
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error


@pytest.fixture(scope="module")
def one_device(tabletop, tmp_path_factory):
    """A run of 15 steps, which are 8 epochs, with a checkpoint after the fifth, too."""
    folder = tmp_path_factory.mktemp("one")
    for stop_at in (5, 0):
        config = config_of(tabletop["array_record"], total_steps=EPISODES, stop_at=stop_at)
        train.train_and_evaluate(config, folder)
    return folder


@pytest.fixture(scope="module")
def eight_devices(tabletop, tmp_path_factory):
    """The same on a mesh of 2 x 2 x 2, stopped after five steps."""
    folder = tmp_path_factory.mktemp("eight")
    changes = MESH | {"total_steps": EPISODES, "stop_at": 5}
    finish([start(command(tabletop["array_record"], folder, **changes), devices=8)])
    return folder


@pytest.fixture(scope="module")
def two_processes(tabletop, tmp_path_factory):
    """The same by two processes that keep a list of the keys they read."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:" + str(free.getsockname()[1])
    group = ["--multihost", f"--coordinator={address}", "--processes=2"]
    python, _, _, *options = command(tabletop["array_record"], folder, *group, total_steps=EPISODES)
    run = [python, "-c", RECORDER]
    finish([start([*run, str(folder / f"keys{i}"), *options, f"--process={i}"]) for i in range(2)])
    return folder


def assert_close(folder, other, steps):
    """Losses of all steps, and parameters, moments and counts at the end, within 1e-5."""
    losses, others = ([row["loss"] for row in lines(each)[:steps]] for each in (folder, other))
    assert len(losses) == steps
    np.testing.assert_allclose(losses, others, TOLERANCE)
    found, wanted = leaves(folder, steps), leaves(other, steps)
    assert found.keys() == wanted.keys()
    outputs = "train['extra']['recent']"  # of the last batch, nothing that is learned
    for key in found.keys() - {outputs}:
        np.testing.assert_allclose(found[key], wanted[key], TOLERANCE, TOLERANCE, err_msg=key)


def test_eight_devices_equal_one(eight_devices, one_device):
    assert_close(eight_devices, one_device, 5)


def test_a_run_on_eight_devices_goes_on_with_one(tabletop, eight_devices, one_device, tmp_path):
    folder = shutil.copytree(eight_devices, tmp_path / "run")
    train.train_and_evaluate(config_of(tabletop["array_record"], total_steps=EPISODES), folder)
    assert_close(folder, one_device, EPISODES)


def test_two_processes_equal_one(two_processes, one_device):
    assert_close(two_processes, one_device, EPISODES)


def test_two_processes_read_every_episode_once_an_epoch(two_processes):
    """The rows of process 0 come first in each global batch; an epoch is the next 15 rows."""
    read = [
        [json.loads(line) for line in (two_processes / f"keys{i}").read_text().splitlines()]
        for i in range(2)
    ]
    assert all(len(part) == BATCH // 2 for batches in read for part in batches)
    keys = np.concatenate([np.concatenate(parts) for parts in zip(*read, strict=True)])
    rows = [key.split("@")[0] for key in keys]
    episodes = set(rows)
    assert len(episodes) == EPISODES
    assert len(rows) == EPISODES * BATCH
    for begin in range(0, len(rows), EPISODES):
        assert set(rows[begin : begin + EPISODES]) == episodes


def test_parameters_and_moments_lie_in_pieces_on_eight_devices(eight_devices):
    """As the checkpoint says that they did."""
    folder = checkpoint.folder(eight_devices) / "5"
    specs = {}
    for item in ("params", "train"):
        for path, leaf in jax.tree.leaves_with_path(checkpoint.stored_tree(folder / item)):
            specs[item + jax.tree_util.keystr(path)] = tuple(leaf.sharding.partition_spec)
    wanted = {"query": ("fsdp", "tensor"), "up": ("fsdp", "tensor"), "down": ("tensor", "fsdp")}
    for name, spec in wanted.items():
        found = [v for k, v in specs.items() if "['block_0']" in k and f"['{name}']['kernel']" in k]
        assert len(found) == 2 * 3, name  # encoder and decoder; parameter and its two moments
        assert set(found) == {spec}


def test_most_of_a_large_state_is_split(tabletop):
    """Of the variant "small": one of 4 x 2 devices holds less than a fifth of it."""
    mesh = AbstractMesh((1, 4, 2), sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    config = config_of(tabletop["array_record"])
    config.model.update(width=512, encoder_depth=8, decoder_depth=8, heads=8)
    task = train.make_task(config)
    batch = device_part(next(train.make_loader(config)))
    optimizer, _ = optim.make(config.optim, config.total_steps)
    _, state = step.initialiser(config, task, optimizer, mesh, batch)
    for tree in (state.params, state.opt_state):
        leaves_ = jax.tree.leaves(tree)
        whole = sum(x.size for x in leaves_)
        here = sum(np.prod(x.sharding.shard_shape(x.shape)) for x in leaves_)
        assert here < whole / 5


@pytest.mark.parametrize(
    ("path", "shape", "spec"),
    [
        ("net/encode/block_0/attention/query/kernel", (16, 16), P("fsdp", "tensor")),
        ("opt_state/1/0/mu/net/decode/block_0/mlp/down/kernel", (64, 16), P("tensor", "fsdp")),
        ("net/encode/block_0/attention/query/kernel", (15, 16), P(None, "tensor")),
        ("net/encode/block_0/mlp/up/bias", (64,), P()),
    ],
)
def test_axes_that_do_not_divide_are_left_whole(path, shape, spec):
    mesh = AbstractMesh((2, 2, 2), sharding.AXES, axis_types=(AxisType.Auto,) * 3)
    rules = ((r"query/kernel$", P("fsdp", "tensor")), (r"down/kernel$", P("tensor", "fsdp")))
    assert sharding.spec_of(path, shape, mesh, rules) == spec
