"""Tokens of every pair of a data set, as Parquet shards: what policies are trained on.

python -m lam.label --workdir=RUN --out=DIR [--config.data.sources=PLACE ...] [--split=all]
    [--latents] [--flow=shipped] [--batch=64] [--process=0 --processes=1]

The data are those of the run unless `--config.data.` says otherwise. DIR gets one shard after the
other, `tokens-00000-of-00012.parquet`, and in the end `_manifest.json`. A shard depends on nothing
but the run, the data and the batch size: any number of processes writes the same bytes, each every
n-th shard, and what was interrupted goes on with the first shard that is missing.

N pairs, L token positions, Z width of a code.
"""

import functools
import hashlib
import json
import math
import os
import pathlib
import sys
import time

import jax
import numpy as np
import pyarrow as pa
from absl import flags
from ml_collections import ConfigDict, config_flags
from pyarrow import parquet

from input_pipeline import ordered
from input_pipeline.batch import device_part
from lam import checkpoint, cli, command, evaluation, metrics, progress, sharding, train, workdir
from lam.errors import UserError
from lam.flow import columns, load, program
from lam.flow.pairs import Batch

ROWS = 1 << 16  # of a shard, about
UPDATES = 12  # of the flow
COLUMNS = {
    "episode": "dataset/episode, as in the keys of the data set",
    "step": "number of frame 1 in its episode, from 0",
    "gap": "steps from frame 1 to frame 2",
    "seconds": "from frame 1 to frame 2, NaN where the rate is not known",
    "tokens": "L tokens of the latent action",
    "latents": "L * Z numbers that the tokens were quantised from; with --latents",
    "flow_...": "the motion summary of the flow between the frames; with --flow",
}


def label(run, out, config, split="all", latents=False, flow="", batch=64, process=0, processes=1):
    """Writes this process's shards, and the manifest if they were the last ones; a text.

    Args:
      run: the workdir; its newest checkpoint is used.
      config: ConfigDict of the run, with the data to be labelled.
      latents: also the continuous codes. flow: weights of a teacher as `lam.flow.load` takes them,
        "" for no summary of the flow.

    Raises:
      UserError, DataError: no such run, other settings in `out`, mistakes in the data; one line.
    """
    if not 0 <= process < processes or batch < 1:
        raise UserError(f"--process={process} must be in 0..{processes - 1} and --batch at least 1")
    size = workdir.read_config(run)["data"]["image_size"]
    if config.data.image_size != size:
        raise UserError(
            f"config.data.image_size={config.data.image_size} is not that of the run: use {size}"
        )
    step, params = checkpoint.load_params(run)
    pairs = ordered.pairs(config.data, batch, split)
    per_shard = math.ceil(ROWS / batch)  # batches
    shards = math.ceil(len(pairs) / (batch * per_shard))
    settings = {"step": step, "split": split, "latents": latents, "flow": flow, "batch": batch}
    settings |= {"pairs": len(pairs)} | {k: config[k].to_dict() for k in ("data", "model")}
    folder = open_folder(out, json.loads(json.dumps(settings, default=list)))
    names = [f"tokens-{i:05d}-of-{shards:05d}.parquet" for i in range(shards)]
    mine = [i for i in range(process, shards, processes) if not (folder / names[i]).exists()]
    predict = Predict(config, params, latents)
    measure = program.Measure(load(flow), UPDATES) if flow else None
    done, started = 0, time.monotonic()
    shown = progress.Steps(sum(rows_of(i, per_shard * batch, len(pairs)) for i in mine), 0, "pairs")
    for i in mine:
        tables = []
        for rows in pairs.batches(i * per_shard, per_shard):
            found = predict(rows)
            if measure:
                found |= summary(measure, rows)
            tables.append(table(rows, pairs.gaps, found))
            done += len(rows["key"])
            shown.update(done)
        part = folder / f"{names[i]}.part{process}"
        parquet.write_table(pa.concat_tables(tables), part)
        os.replace(part, folder / names[i])
    speed = done / max(time.monotonic() - started, 1e-9)
    finished = all((folder / name).exists() for name in names)
    if finished:
        write_manifest(folder, names, settings)
    rest = f"{folder / '_manifest.json'}" if finished else "other processes have shards to write"
    return f"{done:,} pairs, {speed:,.0f} pairs/s{predict.share(speed)}; {rest}"


def rows_of(shard, rows, total):
    """Pairs of a shard."""
    return min(total, (shard + 1) * rows) - shard * rows


class Predict:
    """Tokens, with `latents` also what they were quantised from, over all devices at hand."""

    def __init__(self, config, params, latents):
        self._task = train.make_task(config)
        self._name = "latents" if latents else "tokens"
        if self._name not in self._task.predict:
            raise UserError(f"a run of the task '{config.task}' says no {self._name}")
        mesh = sharding.make_mesh({"data": -1, "fsdp": 1, "tensor": 1})
        place = functools.partial(sharding.place, mesh=mesh, rules=self._task.sharding)
        params, frozen = place(jax.device_get(params)), place(self._task.needed())
        self._variables = {"params": params, "frozen": frozen, "extra": {}}
        self._predict = evaluation.make_predict(self._task, mesh)
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


def summary(measure, batch):
    """The motion summary of a host batch as columns: {"flow_...": [N]}."""
    frames = batch["frames"][:, [0, -1]]
    _, found = measure(Batch(frames, None, None, None, batch["dt"]))
    return {f"flow_{name}": x for name, x in columns.flat(found).items()}


def open_folder(out, settings):
    """The folder, with its settings written; UserError if it holds shards of other settings."""
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "_settings.json"
    if path.exists():
        workdir.check_same(folder, json.loads(path.read_text()), settings)
    workdir.write_whole(path, json.dumps(settings, indent=2, sort_keys=True))
    return folder


def write_manifest(folder, names, settings):
    """_manifest.json: what was labelled with what, and every shard with its rows and SHA-256."""
    shards = [
        {
            "file": name,
            "rows": parquet.read_metadata(folder / name).num_rows,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in names
    ]
    found = {"columns": COLUMNS, "settings": settings, "shards": shards}
    text = json.dumps(found, indent=2, sort_keys=True, default=list)
    workdir.write_whole(folder / "_manifest.json", text)


RUN = flags.DEFINE_string("workdir", None, "The run whose model labels.", required=True)
OUT = flags.DEFINE_string("out", None, "Folder for the shards.", required=True)
SPLIT = flags.DEFINE_enum("split", "all", ("all", "train", "val", "test"), "Which episodes.")
FLOW = flags.DEFINE_string("flow", "", "Also flow summaries, by these weights: shipped, a file.")
LATENTS = flags.DEFINE_bool("latents", False, "Also what the tokens were quantised from.")
BATCH = flags.DEFINE_integer("batch", 64, "Pairs at once.")
PROCESS = flags.DEFINE_integer("process", 0, "Number of this process, from 0.")
PROCESSES = flags.DEFINE_integer("processes", 1, "How many there are; each takes its share.")


def main(argv):
    """Parses the flags, those of the run's config among them, and labels."""
    given = [x.partition("=")[2] for x in argv if x.lstrip("-").startswith("workdir=")]
    if not given:
        raise UserError("--workdir=RUN is needed: the folder of a trained run")
    config = config_flags.DEFINE_config_dict("config", ConfigDict(workdir.read_config(given[0])))
    cli.parse(argv)
    options = [flag.value for flag in (SPLIT, LATENTS, FLOW, BATCH, PROCESS, PROCESSES)]
    print(label(RUN.value, OUT.value, config.value, *options))


if __name__ == "__main__":
    cli.quiet()
    command.run(lambda: main(sys.argv))
