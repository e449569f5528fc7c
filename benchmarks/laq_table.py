"""Which quantizer, which target? One table over both on tabletop, equal steps, several seeds.

python benchmarks/laq_table.py --out=DIR [--steps=300] [--seeds=0,1,2] [--quantizers=nsvq,vq]
    [--targets=pixels] [--variant=tiny] [--csv=docs/laq_table.csv]

Every run is `python -m lam.main` in DIR/<quantizer>-<target>-<seed>, one on each core at a time
(on an accelerator one after the other). Start it again after a stop: runs that are done are not
done again, the others go on where they were. DIR/table.csv gets a row as a run ends; in the end a
table is printed, of the means over the seeds and their 95 % intervals (Student's t).
"""

import argparse
import concurrent.futures
import csv
import json
import os
import pathlib
import queue
import subprocess
import sys

import numpy as np
from scipy import stats

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from input_pipeline import sources, tabletop
from lam import progress
from lam.models import quantizers

ROOT = pathlib.Path(__file__).resolve().parents[1]
TARGETS = {  # what the codes learn from; RAFT's flow of 4 updates, as HLRP takes it
    "pixels": {},
    "pixels+flow": {"flow.teacher": "shipped", "flow.updates": 4},
    "flow": {"flow.teacher": "shipped", "flow.updates": 4, "model.detach_pixels": True},
}
LEFT_OUT = {
    f"evals.{name}.type": "" for name in ("pictures", "scatter", "scatter_state", "examples")
}
# of a run's numbers, how the table calls them, and digits
METRICS = (
    ("motion/r2", "R2", 2),
    ("motion/r2_across_min", "R2 across, worst robot", 2),
    ("motion/r2_shuffled", "R2 shuffled", 2),
    ("reconstruction/delta_psnr", "Delta-PSNR, dB", 2),
    ("codes/usage_min", "codes used, worst position", 1),
    ("codes/perplexity_min", "perplexity, worst position", 1),
)


def command(folder, quantizer, target, seed, options):
    """The command line of a run."""
    warmup = options.steps // 4  # of the quantisation noise, as in configs/laq.py:tiny
    settings = {
        "total_steps": options.steps,
        "seed": seed,
        "log_every": max(1, options.steps // 10),
    }
    settings |= {"checkpoint_every": max(1, options.steps // 3), "model.noise_warmup": warmup}
    settings |= {"model.quantizer": quantizer, **LEFT_OUT, **TARGETS[target]}
    start = [sys.executable, "-m", "lam.main", f"--config=configs/laq.py:{options.variant}"]
    return [*start, f"--workdir={folder}", *(f"--config.{k}={v}" for k, v in settings.items())]


def pin(cores):
    """Keeps this thread, and so the processes that it starts, on a core of its own."""
    if not cores.empty():
        os.sched_setaffinity(0, {cores.get()})


def run(cell, options):
    """Runs or resumes one cell: {"quantizer", "target", "seed", "steps", metric: value}."""
    name = "-".join(map(str, cell))
    log = options.out / f"{name}.log"
    with open(log, "a") as screen:
        done = subprocess.run(
            command(options.out / name, *cell, options),
            cwd=ROOT,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(options.out / "cache")},
            stdout=screen,
            stderr=screen,
        )
    if done.returncode:
        raise RuntimeError(f"{name}: exit {done.returncode}, see {log}")
    row = dict(zip(("quantizer", "target", "seed"), cell, strict=True)) | {"steps": options.steps}
    return row | numbers(options.out / name, options.steps)


def numbers(folder, step):
    """{"evaluator/metric": value} of a finished run."""
    found = {}
    for path in sorted(folder.glob(f"evals/*/{step}/numbers.json")):
        name = path.parts[-3]
        found |= {f"{name}/{key}": value for key, value in json.loads(path.read_text()).items()}
    return found


def key(row):
    return (row["quantizer"], row["target"], int(row["seed"]), int(row["steps"]))


def read(path):
    """The rows of a CSV file; none if it is missing."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write(path, rows):
    """All rows, sorted, with the columns that any of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(sorted(rows, key=key))
    temporary.replace(path)


def interval(values, level=0.95):
    """(mean, half width of its interval by Student's t; NaN for one value)."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return values.mean(), np.nan
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * stats.sem(values)
    return values.mean(), half


def told(values, digits):
    """Mean and half width as text; "none" of nothing, the mean alone of one value."""
    if not values:
        return "none"
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if len(values) > 1 else "")


def table(rows):
    """The rows of equal cells together, as Markdown."""
    cells = {}
    for row in rows:
        cells.setdefault((row["quantizer"], row["target"]), []).append(row)
    heads = ["quantizer", "target", "seeds", *(title for _, title, _ in METRICS)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (quantizer, target), group in cells.items():
        texts = [quantizer, target, str(len(group))]
        for metric, _, digits in METRICS:
            values = [float(row[metric]) for row in group if row.get(metric) not in (None, "")]
            texts.append(told(values, digits))
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--quantizers", default=",".join(quantizers.NAMES))
    parser.add_argument("--targets", default="pixels,pixels+flow")
    parser.add_argument("--variant", default="tiny", help="of configs/laq.py")
    parser.add_argument("--jobs", type=int, help="runs at once; 0 = one, on all cores")
    options = parser.parse_args(argv)
    for name, known in (("quantizers", quantizers.NAMES), ("targets", TARGETS)):
        given = getattr(options, name).split(",")
        wrong = [x for x in given if x not in known]
        if wrong:
            parser.error(f"--{name} has no {', '.join(wrong)}: choose of {', '.join(known)}")
        setattr(options, name, given)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    return options


def main():
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    tabletop.write(sources.cache({}))  # here, so that no two runs write it at once
    cores = queue.Queue()
    usable = sorted(os.sched_getaffinity(0))
    jobs = len(usable) if options.jobs is None else options.jobs
    for core in usable[:jobs]:
        cores.put(core)
    path = options.out / "table.csv"
    rows = {key(row): row for row in read(path)}
    wanted = [
        (quantizer, target, seed)
        for seed in options.seeds
        for target in options.targets
        for quantizer in options.quantizers
    ]
    left = [cell for cell in wanted if (*cell, options.steps) not in rows]
    shown, failed = progress.Steps(len(left), 0, "runs"), []
    with concurrent.futures.ThreadPoolExecutor(max(jobs, 1), "run", pin, (cores,)) as pool:
        started = [pool.submit(run, cell, options) for cell in left]
        for count, future in enumerate(concurrent.futures.as_completed(started), 1):
            shown.update(count)
            if future.exception():
                failed.append(str(future.exception()))
                continue
            row = future.result()
            rows[key(row)] = row
            write(path, list(rows.values()))
    if failed:
        sys.exit("\n".join(failed))
    print(table([rows[(*cell, options.steps)] for cell in wanted]))


if __name__ == "__main__":
    main()
