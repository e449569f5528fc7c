"""What programs that go through pairs of data and label them share.

The model over all devices at hand, a batch as rows of a table, a folder that is gone on with.
N pairs, L token positions, Z width of a code.
"""

import dataclasses
import functools
import json
import math
import pathlib

import jax
import numpy as np
import pyarrow as pa

from input_pipeline.batch import device_part
from lam import checkpoint, evaluation, metrics, sharding, train, workdir
from lam.errors import UserError


def load(run, config):
    """(step, parameters) of the newest checkpoint; UserError if there is none, or if the images of
    the config are not of the size that the run was trained on."""
    size = workdir.read_config(run)["data"]["image_size"]
    if config.data.image_size != size:
        raise UserError(
            f"config.data.image_size={config.data.image_size} is not that of the run: use {size}"
        )
    return checkpoint.load_params(run)


def untrained(config, frames):
    """Parameters of the same model before training, with its codebook on these frames.

    Args:
      config: ConfigDict of the run; weights or actions that it began with are left out.
      frames: uint8 [N,2,H,W,3], real ones, as at the start of a run.
    """
    task = dataclasses.replace(train.make_task(config), start="", action=None)
    key = jax.random.key(config.seed + evaluation.UNTRAINED)
    return jax.jit(task.init)(key, {"frames": frames}, task.needed())[0]


class Predict:
    """Tokens, with `latents` also what they were quantised from, over all devices at hand.

    Attributes:
      known: names of all predictions of the task.
    """

    def __init__(self, config, params, latents):
        self._task = train.make_task(config)
        self._name = "latents" if latents else "tokens"
        if self._name not in self._task.predict:
            raise UserError(f"a run of the task '{config.task}' says no {self._name}")
        mesh = sharding.make_mesh({"data": -1, "fsdp": 1, "tensor": 1})
        place = functools.partial(sharding.place, mesh=mesh, rules=self._task.sharding)
        params, frozen = place(jax.device_get(params)), place(self._task.needed())
        self._variables = {"params": params, "frozen": frozen, "extra": {}}
        self._predict, self.known = evaluation.make_predict(self._task, mesh), self._task.predict
        self._peak, self._flops = metrics.peak_flops(config.peak_tflops), None
        self._rows = None

    def __call__(self, batch):
        """{"tokens": int32 [N,L], and "latents": float32 [N,L*Z]} of a host batch."""
        count = len(batch["frames"])
        self._rows = self._rows or count  # the last batch is filled up, not compiled anew
        index = np.minimum(np.arange(self._rows), count - 1)
        rows = {"frames": device_part(batch)["frames"][index]}
        if self._peak and self._flops is None:
            lowered = jax.jit(self._task.predict[self._name]).lower(self._variables, rows)
            self._flops = lowered.cost_analysis().get("flops", math.nan) / self._rows
        found = self._predict(self._name, self._variables, rows)
        return {name: x[:count].reshape(count, -1) for name, x in found.items()}

    def share(self, speed):
        """The share of the devices' peak that a speed in pairs/s is, as text; "" if unknown."""
        if not self._flops:
            return ""
        return f", {speed * self._flops / self._peak:.1%} of the devices' peak"


def table(batch, gaps, found):
    """The rows of a host batch as a pyarrow Table."""
    keys = [key.rpartition("@") for key in batch["key"]]
    made = {
        "episode": pa.array([episode for episode, _, _ in keys], pa.string()),
        "step": pa.array([int(step) for _, _, step in keys], pa.int32()),
        "gap": pa.array([gaps[i] for i in batch["dataset_id"]], pa.int32()),
        "seconds": pa.array(batch["dt"], pa.float32()),
    }
    for name, x in found.items():
        flat = pa.array(x.reshape(-1))
        made[name] = flat if x.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, x.shape[1])
    return pa.table(made)


def open_folder(out, settings):
    """The folder, with its settings written; UserError if it holds shards of other settings."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "_settings.json"
    if path.exists():
        workdir.check_same(folder, json.loads(path.read_text()), settings, "--out")
    workdir.write_whole(path, json.dumps(settings, indent=2, sort_keys=True))
    return folder
