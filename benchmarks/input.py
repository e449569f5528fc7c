"""Speed, memory, start and resume of the input pipeline, and of live peers; one JSON line a case.

python benchmarks/input.py --data=DIR --clips=CLIPS [--cases=NAMES] [--octo=DIR --dlimp=DIR]
python benchmarks/input.py --report=LINES   prints a table of lines that were kept in a file

The sets are written to DIR first if they are not there (`input_data.py`, which tells what CLIPS
holds). A case runs in a process of its own, pinned to one core: batches of 32 pairs, uint8 256x256,
warmed up, medians of five windows; CPU time of all threads. Wall times mean something on a quiet
machine only: `others` is how many cores other processes used meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import input_data

HERE = Path(__file__).resolve().parent
GAP = 5  # steps
CORES = sorted(os.sched_getaffinity(0))[-2:]  # pinned to the last, scaled to the last two
BATCH, SIZE = 32, 256
# case: (set, backend, pairs per episode, floor and aim in pairs per CPU-second)
RATES = {
    "rt1_dense_stream": ("rt1_like", "stream", "all", 800, 900),
    "rt1_dense_random": ("rt1_frames", "random", "all", 1150, 1400),
    "rt1_one_stream": ("rt1_like", "stream", "1", 500, 600),
    "rt1_one_random": ("rt1_frames", "random", "1", 900, 1300),
    "rt1_one_unconverted": ("rt1_like", "random", "1", None, None),
    "bridge_dense_stream": ("bridge_like", "stream", "all", 330, 420),
    "bridge_dense_random": ("bridge_frames", "random", "all", 330, 420),
    "stored_256_dense_random": ("bridge_frames_256", "random", "all", None, None),
}
# case: (function in input_peers, ours to compare with, floor and aim of the ratio)
PEERS = {
    "naive_one": ("naive", ("rt1_one_stream", "rt1_one_random"), 30, 60),
    "octo_dense": ("octo", ("rt1_dense_stream", "rt1_dense_random"), 4, 7),
}
SETS = {"stream": "rt1_like", "random": "rt1_frames"}
SCALING = 1.7  # two cores over one, wall
LARGE = {"stream": "bridge_large", "random": "bridge_frames"}
RSS_MB = {"stream": 1500, "random": 400}
SLOPE = 1.0  # MB a minute that still counts as flat, above twice its own error
FIRST_SECONDS = {"stream": 5.0, "random": 1.0}
PROGRAM = ("jax", "orbax.checkpoint")  # what a training program has imported before its data
STATE_BYTES = 2**20
FAMILIES = ("two_cores", "rss", "first_batch", "resume")
CASES = (*RATES, *PEERS, *(f"{name}_{backend}" for name in FAMILIES for backend in SETS))


class ChildError(Exception):
    """A process of a case ended without figures."""


def data_config(options, name, backend, pairs="all"):
    """Config of the loader for one of the sets; nothing is held out, tables are kept in DIR."""
    return {
        "sources": str(input_data.folder(options.data, name)),
        "backend": backend,
        "pairs_per_episode": pairs,
        "image_size": SIZE,
        "gap": GAP,
        "val_fraction": 0.0,
        "test_fraction": 0.0,
        "data_dir": str(Path(options.data) / "cache"),
    }


def child(kind, data, cores=CORES[-1:], **job):
    """What `input_cases.py` finds in a process of its own; ChildError tells what stopped it."""
    job = {"kind": kind, "data": data, "cores": list(cores), "batch_size": BATCH, **job}
    path = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "faulthandler",
            str(HERE / "input_cases.py"),
            json.dumps(job | {"started": time.time()}),
        ],
        env=os.environ | quiet | {"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ChildError(f"exit status {done.returncode}: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def rate(options, case, known):
    """Pairs per CPU-second of our loader on one core."""
    name, backend, pairs, floor, aim = RATES[case]
    found = child("rate", data_config(options, name, backend, pairs), seconds=options.seconds)
    known[case] = found["pairs_per_cpu_second"]
    return found | judged(known[case], floor, aim)


def peer(options, case, known):
    """A peer's figures, and how many times faster ours is: both backends must reach the floor."""
    function, ours, floor, aim = PEERS[case]
    folder = str(input_data.folder(options.data, "rt1_like"))
    arguments = {"folder": folder} | ({"gap": GAP} if function == "naive" else {})
    if function == "octo":
        if not (options.octo and options.dlimp):
            return {"skipped": "needs --octo and --dlimp, clones of the two"}
        arguments |= {"octo_path": options.octo, "dlimp_path": options.dlimp}
    data = {"sources": folder, "image_size": SIZE}
    found = child("peer", data, peer=function, arguments=arguments, seconds=options.seconds)
    for name in ours:
        if name not in known:
            rate(options, name, known)
    stream, random = (known[name] / found["pairs_per_cpu_second"] for name in ours)
    ratios = {"ratio": stream, "ratio_random": random}
    return found | ratios | judged(min(stream, random), floor, aim)


def two_cores(options, backend):
    """Wall speed of two cores over that of one; runs of both kinds take turns.

    ratio counts only time that other processes left us, ratio_wall all of it.
    """
    data, runs = data_config(options, SETS[backend], backend), {1: [], 2: []}
    for _ in range(2):
        for count in runs:
            runs[count].append(child("rate", data, CORES[-count:], seconds=options.seconds / 2))
    one, two = (
        {key: sum(run[key] for run in runs[count]) / 2 for key in runs[count][0]} for count in runs
    )
    ratio = 2 * two["pairs_per_free_second"] / one["pairs_per_free_second"]
    wall = two["pairs_per_second"] / one["pairs_per_second"]
    return two | {"ratio": ratio, "ratio_wall": wall} | judged(ratio, SCALING)


def rss(options, backend):
    """Peak and slope of the resident memory; the stream reads more than its buffer can hold."""
    data = data_config(options, LARGE[backend], backend)
    found = child("memory", data, minutes=options.minutes, every=min(1.0, options.minutes))
    flat = found["slope_mb_per_minute"] < SLOPE + 2 * found["slope_error"]
    ok = flat and found["peak_rss_mb"] < RSS_MB[backend]
    return found | {"limit": RSS_MB[backend], "flat": flat, "ok": ok}


def first_batch(options, backend):
    """Seconds from `make` to the first batch with cold files and no index of the set on disk, in a
    program that trains (so jax and orbax are there); again_: with the index; bare_: of a program
    that imports nothing else, also from the start of the process. free_seconds are judged."""
    data = data_config(options, LARGE[backend], backend)
    job = {"folders": [data["sources"]], "imports": PROGRAM}
    with tempfile.TemporaryDirectory(dir=options.data) as cache:
        new = child("first_batch", data | {"data_dir": cache}, **job)
        again = child("first_batch", data | {"data_dir": cache}, **job)
    with tempfile.TemporaryDirectory(dir=options.data) as cache:
        bare = child("first_batch", data | {"data_dir": cache}, **job | {"imports": []})
    del new["from_process_start_seconds"], again["from_process_start_seconds"]
    for name, other in (("again", again), ("bare", bare)):
        new |= {f"{name}_{key}": value for key, value in other.items() if "seconds" in key}
    limit = FIRST_SECONDS[backend]
    return new | {"limit": limit, "ok": new["free_seconds"] < limit}


def resume(options, backend):
    """Bytes of the state and seconds to go on from it, deep in an epoch."""
    data = data_config(options, SETS[backend], backend)
    found = child("resume", data, batches=options.batches)
    return found | {"ok": found["exact"] and found["state_bytes"] < STATE_BYTES}


def judged(value, floor, aim=None):
    """Whether a figure reaches its floor and its aim, where there are any."""
    found = {"floor": floor, "aim": aim, "ok": floor is None or value >= floor}
    return found | ({} if aim is None else {"aim_reached": value >= aim})


def run(options, case, known):
    """One case: its figures as they are printed."""
    if case in RATES:
        found = rate(options, case, known)
    elif case in PEERS:
        found = peer(options, case, known)
    else:
        family, _, backend = case.rpartition("_")
        measure = {"two_cores": two_cores, "rss": rss, "first_batch": first_batch, "resume": resume}
        found = measure[family](options, backend)
    return {"case": case} | {key: rounded(value) for key, value in found.items()}


def rounded(value):
    """Floats to four figures."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def report(lines):
    """A table of JSON lines, at most 80 columns."""
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    columns = ("pairs_per_cpu_second", "ratio", "peak_rss_mb", "first_batch_seconds")
    heads = ("pairs/CPU-s", "ratio", "MB", "first s")
    table = [f"{'case':<25}" + "".join(f"{head:>12}" for head in heads) + "  ok"]
    for row in rows:
        cells = "".join(f"{row.get(column, ''):>12}" for column in columns)
        judged = "skip" if "skipped" in row else {True: "yes", False: "NO"}[row["ok"]]
        table.append(f"{row['case']:<25}{cells}  {judged}")
    return "\n".join(table)


def parse(argv=None):
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="", help="folder of the sets")
    add("--clips", default="", help="folder with rt1_clips and bridge_clips, to write the sets")
    add("--cases", default=",".join(CASES), help="comma-separated (all)")
    add("--seconds", type=float, default=20.0, help="of measuring, for each case (20)")
    add("--minutes", type=float, default=10.0, help="of watching the memory (10)")
    add("--batches", type=int, default=300, help="read before the state is taken (300)")
    add("--octo", default="", help="clone of octo-models/octo")
    add("--dlimp", default="", help="clone of kvablack/dlimp")
    add("--report", default="", help="print a table of this file and stop")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.cases.split(",")) - set(CASES))
    if unknown:
        parser.error(f"--cases: {unknown[0]} is none of {', '.join(CASES)}")
    if not (options.data or options.report):
        parser.error("--data is needed: the folder of the sets")
    return options


def main():
    options, known = parse(), {}
    if options.report:
        print(report(Path(options.report).read_text().splitlines()))
        return
    input_data.ensure(options.data, options.clips)
    failed = False
    for case in options.cases.split(","):
        try:
            found = run(options, case, known)
        except ChildError as error:
            failed, found = True, {"case": case, "error": str(error), "ok": False}
        print(json.dumps(found), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
