"""Numbers of a run: measured per step, written to `metrics.jsonl` and to TensorBoard."""

import contextlib
import json
import math
import os
import pathlib
import resource
import socket
import time

import jax
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from lam.errors import UserError

# dense bfloat16 peak of one device in TFLOP/s, by a part of `device_kind` (vendors' data sheets)
PEAK_TFLOPS = {
    "H200": 989.0,
    "H100": 989.0,
    "A100": 312.0,
    "TPU v4": 275.0,
    "TPU v5 lite": 197.0,
    "TPU v5": 459.0,
    "TPU v6 lite": 918.0,
}


class Writer:
    """Appends scalars of a step to `metrics.jsonl` and to a TensorBoard event file."""

    def __init__(self, workdir, first_step=0):
        self.active = jax.process_index() == 0
        if not self.active:
            return
        workdir = pathlib.Path(workdir)
        drop_later_lines(workdir / "metrics.jsonl", first_step)
        self.jsonl = open(workdir / "metrics.jsonl", "a", buffering=1)  # noqa: SIM115
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self.events = RecordWriter(open(workdir / name, "wb"))  # noqa: SIM115
        self.event(file_version="brain.Event:2")

    def write(self, step, scalars):
        """One line: {"step": ..., name: float, ...}; NaN and infinity become null."""
        if not self.active:
            return
        clean = {k: float(v) if math.isfinite(v) else None for k, v in scalars.items()}
        self.jsonl.write(json.dumps({"step": int(step), **clean}) + "\n")
        values = [Summary.Value(tag=k, simple_value=v) for k, v in clean.items() if v is not None]
        self.event(step=int(step), summary=Summary(value=values))
        self.events.flush()

    def event(self, **fields):
        self.events.write(Event(wall_time=time.time(), **fields).SerializeToString())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.active:
            self.jsonl.close()
            self.events.close()


def drop_later_lines(path, step):
    """Keeps the lines up to `step`: what a killed run wrote after its last checkpoint is redone."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            keep = json.loads(line)["step"] <= step
        except json.JSONDecodeError:  # the line that a killed run was writing
            keep = False
        if keep:
            kept.append(line + "\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept))
    temporary.replace(path)


class Meter:
    """Collects the metrics of steps as they finish and turns them into rates.

    Metrics are read one step late, so that the host never waits for the step it just started.
    """

    def __init__(self, config, flops, last_good):
        self.batch_size, self.flops = config.batch_size, flops
        self.peak = peak_flops(config.peak_tflops)
        self.last_good = last_good  # () -> text that names the newest checkpoint
        self.pending, self.loss = None, math.nan
        self.reset()

    def reset(self):
        self.rows, self.waited, self.since = [], 0.0, time.perf_counter()

    def next_batch(self, loader):
        start = time.perf_counter()
        batch = next(loader)
        self.waited += time.perf_counter() - start
        return batch

    @contextlib.contextmanager
    def paused(self):
        """Checks the noted step first; time in here counts for no rate."""
        self.settle()
        start = time.perf_counter()
        yield
        self.since += time.perf_counter() - start

    def add(self, step, metrics, keys):
        """Notes a step that was just started, and checks the one before it."""
        self.settle()
        self.pending = (step, metrics, keys)

    def settle(self):
        """Waits for the noted step; UserError if its loss or gradient is not finite."""
        if self.pending is None:
            return
        step, metrics, keys = self.pending
        self.pending = None
        row = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not row.pop("finite"):
            shown = ", ".join(str(key) for key in keys[:4])
            raise UserError(
                f"step {step}: loss {row['loss']:g}, gradient norm {row['grad_norm']:g}; "
                f"batch keys {shown}, ... ({len(keys)}); last good checkpoint {self.last_good()}"
            )
        self.rows.append(row)
        self.loss = row["loss"]

    def report(self):
        """Means of the noted metrics and the rates since the last report; starts a new window."""
        self.settle()
        seconds, steps = time.perf_counter() - self.since, max(len(self.rows), 1)
        report = {k: np.mean([row[k] for row in self.rows]) for k in self.rows[0]}
        report["steps_per_second"] = steps / seconds
        report["pairs_per_second"] = steps * self.batch_size / seconds
        report["input_wait"] = self.waited / seconds
        report["tflops"] = self.flops * steps / seconds / 1e12
        if self.peak:
            report["mfu"] = self.flops * steps / seconds / self.peak
        self.reset()
        return {**report, **memory()}


def memory():
    """Peak memory in GB: of this process, and of the first device where it tells."""
    found = {"host_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}
    stats = jax.local_devices()[0].memory_stats()
    if stats:
        found["device_memory_gb"] = stats["peak_bytes_in_use"] / 1e9
    return found


def peak_flops(given_tflops):
    """FLOP/s of all devices together: as given, else from the table, else None."""
    kind = jax.devices()[0].device_kind
    known = [peak for name, peak in PEAK_TFLOPS.items() if name in kind]
    peak = given_tflops or (known[0] if known else None)
    return peak and peak * 1e12 * jax.device_count()
