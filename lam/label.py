"""Tokens of every pair of a data set, as Parquet shards: what policies are trained on.

python -m lam.label --workdir=RUN --out=DIR [--config.data.sources=PLACE ...] [--split=all]
    [--latents] [--flow=shipped] [--batch=64] [--process=0 --processes=1]

The data are those of the run unless `--config.data.` says otherwise. DIR gets one shard after the
other, `tokens-00000-of-00012.parquet`, and in the end `_manifest.json`. A shard depends on nothing
but the run, the data and the batch size: any number of processes writes the same bytes, each every
n-th shard, and what was interrupted goes on with the first shard that is missing.

N pairs, L token positions, Z width of a code.
"""

import hashlib
import json
import math
import os
import sys
import time

import pyarrow as pa
from absl import flags
from ml_collections import ConfigDict, config_flags
from pyarrow import parquet

from input_pipeline import ordered
from lam import cli, command, labelling, progress, workdir
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
    step, params = labelling.load(run, config)
    pairs = ordered.pairs(config.data, batch, split)
    per_shard = math.ceil(ROWS / batch)  # batches
    shards = math.ceil(len(pairs) / (batch * per_shard))
    settings = {"step": step, "split": split, "latents": latents, "flow": flow, "batch": batch}
    settings |= {"pairs": len(pairs)} | {k: config[k].to_dict() for k in ("data", "model")}
    folder = labelling.open_folder(out, json.loads(json.dumps(settings, default=list)))
    names = [f"tokens-{i:05d}-of-{shards:05d}.parquet" for i in range(shards)]
    mine = [i for i in range(process, shards, processes) if not (folder / names[i]).exists()]
    predict = labelling.Predict(config, params, latents)
    measure = program.Measure(load(flow), UPDATES) if flow else None
    done, started = 0, time.monotonic()
    shown = progress.Steps(sum(rows_of(i, per_shard * batch, len(pairs)) for i in mine), 0, "pairs")
    for i in mine:
        tables = []
        for rows in pairs.batches(i * per_shard, per_shard):
            found = predict(rows)
            if measure:
                found |= summary(measure, rows)
            tables.append(labelling.table(rows, pairs.gaps, found))
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


def summary(measure, batch):
    """The motion summary of a host batch as columns: {"flow_...": [N]}."""
    frames = batch["frames"][:, [0, -1]]
    _, found = measure(Batch(frames, None, None, None, batch["dt"]))
    return {f"flow_{name}": x for name, x in columns.flat(found).items()}


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
