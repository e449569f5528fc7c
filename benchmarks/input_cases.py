"""How `benchmarks/input.py` measures: one kind of measurement in one process, pinned to its cores.

python benchmarks/input_cases.py JOB, where JOB is JSON: {"kind": a name in KINDS, "cores": [0],
"data": config of the loader, "batch_size", "seconds", ...}. Prints one JSON line.
"""

import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

REPEATS = 5
MIB = 2**20


def measure(batches, seconds, cores):
    """Warm up for a quarter of `seconds`, then count pairs in REPEATS windows of all of them.

    Returns medians over the windows, least and greatest of pairs_per_cpu_second, and others: CPU
    time that other processes took from these cores, in cores.
    """
    _window(batches, seconds / 4, cores)
    windows = [_window(batches, seconds / REPEATS, cores) for _ in range(REPEATS)]
    found = {name: statistics.median(window[name] for window in windows) for name in windows[0]}
    by_cpu = [window["pairs_per_cpu_second"] for window in windows]
    return found | {"least": min(by_cpu), "most": max(by_cpu), "peak_rss_mb": _status("VmHWM")}


def _window(batches, seconds, cores):
    """Rates of one stretch. free: pairs per second of the cores that others left us."""
    pairs, wall = 0, time.perf_counter()
    cpu, busy = time.process_time(), _busy(cores)
    while (spent := time.perf_counter() - wall) < seconds or not pairs:
        pairs += len(_frames(next(batches)))
    cpu, busy = time.process_time() - cpu, _busy(cores) - busy
    others = max(0.0, (busy - cpu) / spent)
    return {
        "pairs_per_cpu_second": pairs / cpu,
        "pairs_per_second": pairs / spent,
        "pairs_per_free_second": pairs / spent / (len(cores) - others),
        "others": others,
    }


def _busy(cores):
    """Seconds that these cores have worked, for whomever, since the machine started."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _, _, irq, softirq, *_ = map(int, ticks)
            total += user + nice + system + irq + softirq
    return total / os.sysconf("SC_CLK_TCK")


def _frames(batch):
    return batch["frames"] if isinstance(batch, dict) else batch


def _status(field):
    """A figure of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return round(int(line.split()[1]) * 1024 / MIB, 1)
    raise KeyError(field)


def make(job):
    """Our loader as the job wants it."""
    import input_pipeline

    return input_pipeline.make(job["data"], job["batch_size"], seed=0)


def rate(job):
    """Pairs per second of CPU of our loader, and the seconds from `make` to the first batch."""
    started = time.perf_counter()
    loader = make(job)
    first = next(loader)["frames"]
    seconds = time.perf_counter() - started
    size = job["data"]["image_size"]
    if first.shape != (job["batch_size"], 2, size, size, 3) or first.dtype != "uint8":
        raise ValueError(f"not the batch that was asked for: {first.dtype} {first.shape}")
    found = {"first_batch_seconds": seconds, **measure(loader, job["seconds"], job["cores"])}
    loader.close()
    return found


def peer(job):
    """The same figures of another pipeline: job["peer"] is its function in `input_peers`."""
    import input_peers

    started = time.perf_counter()
    batches = getattr(input_peers, job["peer"])(
        batch_size=job["batch_size"], image_size=job["data"]["image_size"], **job["arguments"]
    )
    next(batches)
    seconds = time.perf_counter() - started
    return {"first_batch_seconds": seconds, **measure(batches, job["seconds"], job["cores"])}


def first_batch(job):
    """Seconds to the first batch with no page of the files in memory, from `make` and from the
    start of the process (job["started"], of time.time). free_seconds: without what others took of
    the cores. job["imports"] are loaded before `make`."""
    for module in job["imports"]:
        importlib.import_module(module)
    for folder in job["folders"]:
        drop_cache(folder)
    started, cpu, busy = time.perf_counter(), time.process_time(), _busy(job["cores"])
    loader = make(job)
    made = time.perf_counter() - started
    next(loader)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    others = max(0.0, _busy(job["cores"]) - busy - cpu) / len(job["cores"])
    return {
        "make_seconds": made,
        "first_batch_seconds": seconds,
        "free_seconds": seconds - others,
        "cpu_seconds": cpu,
        "from_process_start_seconds": time.time() - job["started"],
        "peak_rss_mb": _status("VmHWM"),
    }


def drop_cache(folder):
    """Ask the kernel to forget the files under `folder`."""
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resume(job):
    """Cost of going on in the middle: bytes of the state, seconds to the next batch after
    `set_state` in a new loader, and whether it is the batch that would have come."""
    loader = make(job)
    for _ in range(job["batches"]):
        next(loader)
    state = json.loads(json.dumps(loader.get_state()))
    wanted = next(loader)
    loader.close()
    started = time.perf_counter()
    loader = make(job)
    loader.set_state(state)
    made = time.perf_counter() - started
    found = next(loader)
    seconds = time.perf_counter() - started
    same = all((wanted[key] == found[key]).all() for key in ("frames", "key", "action"))
    return {
        "state_bytes": len(json.dumps(state)),
        "make_seconds": made,
        "first_batch_seconds": seconds,
        "exact": bool(same),
        "peak_rss_mb": _status("VmHWM"),
    }


def memory(job):
    """Resident memory over job["minutes"] of reading, sampled every second; the slope is a
    least-squares line over the last two thirds. anonymous: without pages of mapped files."""
    import numpy as np

    loader = make(job)
    next(loader)
    started, samples, pairs = time.monotonic(), [], 0
    while (spent := time.monotonic() - started) < 60 * job["minutes"] or len(samples) < 9:
        pairs += len(next(loader)["frames"])
        if spent >= len(samples) * job["every"]:
            samples.append((spent / 60, _status("VmRSS"), _status("RssAnon")))
    loader.close()
    minutes, resident, anonymous = np.array(samples[len(samples) // 3 :]).T
    slope, error = _slope(np, minutes, resident)
    return {
        "peak_rss_mb": _status("VmHWM"),
        "slope_mb_per_minute": slope,
        "slope_error": error,
        "anonymous_mb": float(anonymous.max()),
        "minutes": job["minutes"],
        "pairs": pairs,
    }


def _slope(np, x, y):
    """Slope of the least-squares line and its standard error (samples taken as independent)."""
    centred = x - x.mean()
    slope = (centred * y).sum() / (centred**2).sum()
    rest = y - y.mean() - slope * centred
    return float(slope), float(np.sqrt((rest**2).sum() / max(1, len(x) - 2) / (centred**2).sum()))


KINDS = {kind.__name__: kind for kind in (rate, peer, first_batch, resume, memory)}


def main():
    job = json.loads(sys.argv[1])
    os.sched_setaffinity(0, job["cores"])  # before anything starts a thread
    found = KINDS[job["kind"]](job)
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # threads of a peer may never end


if __name__ == "__main__":
    main()
