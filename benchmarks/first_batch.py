"""Seconds to the first batch and pairs per CPU-second of a source; one JSON line.

python benchmarks/first_batch.py [--sources=tabletop] [--data_dir=DIR] [--batches=200]
The built-in set is written first if it is not there; that is not counted.
"""

import argparse
import json
import os
import time

import input_pipeline


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", default="tabletop")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--batches", type=int, default=200)
    options = parser.parse_args()
    if options.sources == "tabletop":
        from input_pipeline.tabletop import write

        write(options.data_dir or os.path.expanduser("~/.cache/lam"))
    data = {k: getattr(options, k) for k in ("sources", "data_dir", "image_size")}
    start = time.perf_counter()
    loader = input_pipeline.make(data, options.batch_size)
    next(loader)
    first = time.perf_counter() - start
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(options.batches):
        next(loader)
    pairs = options.batches * options.batch_size
    figures = {
        "case": options.sources,
        "first_batch_seconds": round(first, 2),
        "pairs_per_second": round(pairs / (time.perf_counter() - wall)),
        "pairs_per_cpu_second": round(pairs / (time.process_time() - cpu)),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
