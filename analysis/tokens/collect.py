"""The first phase: tokens, motion and all that is known of some pairs of every domain.

Written in parts of some batches each, of which every one depends on nothing but the settings: what
was interrupted goes on with the first part that is missing, and gives the same bytes.
N pairs, P of them with pictures, L token positions, Z width of a code, H W pixels.
"""

import dataclasses
import json
import math
import os
import pathlib
import shutil
import time

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import lam
from analysis.tokens import inspected, trials
from analysis.tokens import records as records_lib
from analysis.tokens.options import Options
from analysis.tokens.records import PICTURES, TABLE, About, Records
from analysis.tokens.result import to_json
from analysis.tokens.teacher import EXACT, Exact, Teacher
from input_pipeline import ordered
from lam import labelling, progress
from lam.errors import UserError
from lam.flow import columns
from lam.workdir import write_whole

BATCHES = 8  # of a part
PARTS, SANITY = "_parts", "sanity.json"
# what only analyses ask for
FREE = {field.name for field in dataclasses.fields(Options)} - {"inspected", "support", "seed"}


def collect(run, out, config, run_config, split="val", flow="shipped"):
    """Writes records.parquet, frames.npz, inspected_tokens and sanity.json, unless the same are
    there; what was done, one line.

    Args:
      run: the workdir; its newest checkpoint is used.
      config: ConfigDict as in configs/tokens.py, its `data` complete.
      run_config: ConfigDict of the run with the same `data`.
      flow: weights of a teacher as `lam.flow.load` takes them, or "exact" for tabletop.

    Raises:
      UserError, DataError: no such run, no tokens, other settings in `out`, mistakes in the data.
    """
    check(config)
    step, params = labelling.load(run, run_config)
    predict = labelling.Predict(run_config, params, latents=True)
    if not {"tokens", "transfer"} <= set(predict.known):
        raise UserError(f"{run} is continuous and has no tokens: analyse a run with a codebook")
    given = {key: value for key, value in config.to_dict().items() if key not in FREE}
    settings = {"step": step, "split": split, "flow": flow, "model": run_config.model.to_dict()}
    settings = json.loads(json.dumps(settings | given, default=list))
    folder = labelling.open_folder(out, settings)
    if all((folder / name).exists() for name in (TABLE, PICTURES, SANITY)):
        return f"{folder / TABLE} is there already, with the same settings"
    pairs = ordered.pairs(
        config.data, config.batch, split, per_domain=config.samples, seed=config.seed
    )
    tell(pairs, config.samples, split)
    laq = lam.load(run)
    frames = config.data.frames - 1
    about = About(
        pathlib.Path(run).resolve().name, step, laq.num_codes, laq.image_size, flow,
        bool(laq.task.model.flow_depth), config.seed, split,
    )  # fmt: skip
    teacher = Teacher("shipped" if flow == EXACT else flow, config.updates, config.batch)
    exact = Exact(pairs.sources, laq.image_size, config.batch) if flow == EXACT else None
    first = next(iter(pairs.batches(0, 1)))["frames"][:, [0, -1]]
    blank = labelling.Predict(run_config, labelling.untrained(run_config, first), latents=False)
    models = predict, blank
    rows = Rows(pairs, models, exact or teacher, frames, pictures_of(pairs, config))
    seconds = write_parts(folder / PARTS, rows, pairs, config.batch)
    speed = f", {len(pairs) / seconds:,.0f} pairs/s{predict.share(len(pairs) / seconds)}"
    finish(folder, about, config, laq, teacher)
    return f"{len(pairs):,} pairs{speed if rows.done == len(pairs) else ''}; {folder / TABLE}"


def check(config):
    """UserError for a number that is out of range."""
    least = {"samples": 1, "pictures": 1, "batch": 1, "updates": 1, "inspected": 0, "support": 1}
    least |= {"permutations": 1, "resamples": 1, "top": 1, "seed": 0}
    values = {name: config[name] for name in least}
    values |= {f"trials.{name}": value for name, value in config.trials.items()}
    for name, value in values.items():
        if value < least.get(name, 0):
            raise UserError(f"config.{name}={value} must be at least {least.get(name, 0)}")


def tell(pairs, samples, split):
    """One line for each domain with fewer pairs than asked for, and each set without any."""
    for domain, total in pairs.totals.items():
        if total < samples:
            progress.show(f"{domain}: {total:,} pairs of {split}, all are taken", end=True)
    for name in pairs.names:
        if not any(domain.split("/")[0] == name for domain in pairs.totals):
            progress.show(f"{name}: no pairs of {split}", end=True)


def pictures_of(pairs, config):
    """Which pairs keep their pictures, drawn by the seed, evenly of all domains: int64 [P]."""
    rng = np.random.default_rng([config.seed, 1])
    domain_N = pairs.domains()
    members = [rng.permutation(np.flatnonzero(domain_N == name)) for name in np.unique(domain_N)]
    return np.sort(np.concatenate(even(members, config.pictures)))


def even(members, total):
    """The first of every array so that they are `total` at most, as even as their sizes allow."""
    taken, left = {}, total
    for i in sorted(range(len(members)), key=lambda i: len(members[i])):
        taken[i] = min(len(members[i]), left // (len(members) - len(taken)))
        left -= taken[i]
    return [members[i][: taken[i]] for i in range(len(members))]


class Rows:
    """The rows of the table for a batch, and the pictures of some of them.

    Attributes:
      done: pairs so far.
    """

    def __init__(self, pairs, models, motion, steps, picture_P):
        self._pairs, self._motion = pairs, motion
        self._predict, self._blank = models
        self._steps, self._picture_P, self.done = steps, picture_P, 0

    def __call__(self, batch, begin, size):
        """(pyarrow Table, {"frames": uint8 [p,2,H,W,3], "latents": float32 [p,L*Z]}) of a host
        batch whose first pair has the number `begin`; `size`: of a full batch."""
        count = len(batch["key"])
        batch = {**batch, "dt": batch["dt"] * self._steps}
        batch["frames"] = batch["frames"][:, [0, -1]]
        full = np.minimum(np.arange(size), count - 1)  # filled up, so that one program runs
        predicted = self._predict({"frames": batch["frames"][full]})
        blank = self._blank({"frames": batch["frames"][full]})
        gaps = [gap * self._steps for gap in self._pairs.gaps]
        if isinstance(self._motion, Exact):
            _, summary = self._motion(batch, np.array(gaps)[batch["dataset_id"]])
        else:
            _, summary = self._motion(*np.moveaxis(batch["frames"], 1, 0), batch["dt"])
        number = np.arange(begin, begin + count)
        place = np.searchsorted(self._picture_P, number)
        held = np.isin(number, self._picture_P)
        found = {
            "dataset": np.array([name.split("/")[0] for name in batch["domain"]]),
            "domain": batch["domain"].astype(str),
            "scene": batch["scene_id"].astype(np.int64),
            "text": batch["text"].astype(str),
            "picture": np.where(held, place, -1).astype(np.int32),
            "tokens": predicted["tokens"][:count].astype(np.int32),
            "tokens_random": blank["tokens"][:count].astype(np.int32),
            "action": np.where(batch["action_mask"], batch["action"], np.nan),
            "state": np.where(batch["state_mask"], batch["state"][:, 0], np.nan),
        }
        found |= columns.flat(summary)
        self.done += count
        pictures = {"frames": batch["frames"][held], "latents": predicted["latents"][:count][held]}
        return labelling.table(batch, gaps, found), pictures


def write_parts(folder, rows, pairs, size):
    """Writes the parts that are missing; seconds it took, without the first compiled batch."""
    folder.mkdir(exist_ok=True)
    parts = math.ceil(len(pairs) / (size * BATCHES))
    missing = [i for i in range(parts) if not (folder / f"{i:05d}.parquet").exists()]
    there = (parts - len(missing)) * size * BATCHES
    shown, started = progress.Steps(len(pairs), there, "pairs"), time.monotonic()
    for i in missing:
        tables, pictures = [], []
        begin = i * size * BATCHES
        for batch in pairs.batches(i * BATCHES, BATCHES):
            made = rows(batch, begin, size)
            begin += len(batch["key"])
            tables.append(made[0])
            pictures.append(made[1])
            shown.update(min(len(pairs), there + rows.done))
        held = {key: np.concatenate([x[key] for x in pictures]) for key in pictures[0]}
        part = folder / f"{i:05d}"
        np.savez(part.with_suffix(".npz"), **held)
        parquet.write_table(pa.concat_tables(tables), part.with_suffix(".part"))
        os.replace(part.with_suffix(".part"), part.with_suffix(".parquet"))
    return max(time.monotonic() - started, 1e-9)


def finish(folder, about, config, laq, teacher):
    """Makes the files of a folder from its parts, the table last, and removes the parts."""
    paths = sorted((folder / PARTS).glob("*.parquet"))
    table = pa.concat_tables([parquet.read_table(path) for path in paths]).combine_chunks()
    table = table.replace_schema_metadata({"about": json.dumps(vars(about), sort_keys=True)})
    held = [np.load(path.with_suffix(".npz")) for path in paths]
    frames, latents = (np.concatenate([one[key] for one in held]) for key in ("frames", "latents"))
    by_name = {name: records_lib.column(table[name]) for name in table.column_names}
    row = np.flatnonzero(by_name["picture"] >= 0).astype(np.int32)
    pictures = {"frames": frames, "row": row}
    pictures["latents"] = latents.reshape(len(row), laq.num_tokens, -1)
    records = Records(by_name, about, pictures)
    chosen = inspected.choose(records, config.inspected, config.support)
    made = trials.make(records, laq, teacher, inspected.sequences(chosen), config.trials)
    with open(folder / f"{PICTURES}.tmp", "wb") as file:
        np.savez(file, **pictures, **made)
    os.replace(folder / f"{PICTURES}.tmp", folder / PICTURES)
    inspected.write(chosen, config.support, folder)
    write_whole(folder / SANITY, to_json(sanity(records, config.support)))
    parquet.write_table(table, folder / f"{TABLE}.tmp")
    os.replace(folder / f"{TABLE}.tmp", folder / TABLE)
    shutil.rmtree(folder / PARTS)


def sanity(records, support):
    """What should be looked at before any analysis is believed."""
    known_N, static_N = records.known_N, ~records.moving_N & records.known_N
    _, counts_U = np.unique(records.tokens_NL, axis=0, return_counts=True)
    return {
        "samples": len(records),
        "samples of domains": {d: int((records.domain_N == d).sum()) for d in records.domains},
        "episodes": len(np.unique(records.episode_N)),
        "share of samples whose flow is not finite": float(1 - known_N.mean()),
        "share of static samples": float(static_N.mean()),
        "sequences": len(counts_U),
        f"sequences with fewer than {support} samples": int((counts_U < support).sum()),
        f"share of samples of sequences with fewer than {support}": float(
            counts_U[counts_U < support].sum() / len(records)
        ),
    }
