"""Our LAQ against LAPA's own code, both live in one process; one JSON line a case.

python benchmarks/laq_peer.py --lapa=CLONE --data=DIR [--cases=step,quality] [--steps=200]
    [--batch=8] [--rounds=9] [--gpu]

CLONE is of LatentActionPretraining/LAPA, DIR keeps the built-in data set (made if absent). All
sides have LAPA's optimizer (Adam 1e-4, betas .9 and .99, clipped at .5) and the same batches.

`step`: CPU seconds of one training step, pinned to one thread, at width 256, depth 2, 4 heads, 8x8
patches of 32 pixels: LAPA, ours as published (quirks) and ours put right. Rounds alternate between
the sides; medians, ratios medians over rounds. LAPA gets frames as floats, as its loader makes
them; ours makes them of bytes within the step.

`quality`: after equally many steps, at 64x64 and 8x8 patches of 8 pixels (the size of the set's
frames), on the validation scenes: LAPA as published, ours with its net (encoder=lapa), and our
default. The default is smaller (configs/laq.py:tiny); `parameters` tells. Codes and perplexity are
means over positions; see lam/evaluators for the figures.

--gpu: wall time on a GPU, no pinning; not tried yet.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from flow import measure, one_thread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import input_pipeline
from configs import laq as configs

STEP, QUALITY = (256, 32), (64, 8)  # pixels of a side, and of a patch
TINY = {"width": 256, "encoder_depth": 2, "decoder_depth": 2, "heads": 4}
BATCHES = 16  # of validation


def config_of(options, variant, size, **model):
    """A config of configs/laq.py with LAPA's optimizer; `size` (pixels of a side, of a patch)."""
    config, published = configs.get_config(variant), configs.get_config("lapa")
    config.optim.update(published.optim)
    config.data.update(image_size=size[0], data_dir=options.data)
    config.model.update(patch=size[1], **model)
    config.batch_size, config.total_steps = options.batch, options.steps
    return config


def loader_of(config, split):
    return input_pipeline.make(config.data.to_dict(), config.batch_size, seed=0, split=split)


def train_step(options, sides):
    """Seconds of a step."""
    config = config_of(options, "lapa", STEP, **TINY)
    right = config.copy_and_resolve_references()
    config.model.quirks = True
    batch = next(loader_of(config, "train"))
    made = {
        "lapa": sides.Lapa(options.lapa, config, options.device),
        "quirks": sides.Ours(config, batch),
        "right": sides.Ours(right, batch),
    }

    def function(side):
        given = side.put(batch)

        def call():
            side.step(given)
            side.settle()

        return call

    clock = time.perf_counter if options.gpu else time.process_time
    times = measure({k: function(side) for k, side in made.items()}, options.rounds, clock)
    figures = {"case": "train_step", "device": options.device, "batch": options.batch}
    figures |= {"side": STEP[0], "patch": STEP[1], **TINY, "rounds": options.rounds}
    figures |= {name: round(statistics.median(x), 4) for name, x in times.items()}
    for name in ("quirks", "right"):
        pairs = zip(times["lapa"], times[name], strict=True)
        figures[f"ratio_{name}"] = round(statistics.median(a / b for a, b in pairs), 2)
    yield figures


def quality(options, sides):
    """What each side has learned."""
    lapa = config_of(options, "lapa", QUALITY, **TINY)
    joint = config_of(options, "tiny", QUALITY)
    loader = loader_of(lapa, "train")
    batch = next(loader)
    made = {
        "lapa": sides.Lapa(options.lapa, lapa, options.device),
        "ours_lapa": sides.Ours(lapa, batch),
        "ours_joint": sides.Ours(joint, batch),
    }
    for number in range(options.steps):
        for side in made.values():
            side.step(side.put(batch))
        if number < options.steps - 1:
            batch = next(loader)
    loader.close()
    for name, side in made.items():
        yield {"case": f"quality_{name}", "steps": options.steps, "batch": options.batch} | scores(
            side, lapa, options.steps
        )


def scores(side, config, step):
    """Figures of a side on the validation scenes."""
    import numpy as np

    from lam.evaluators import reconstruction
    from lam.ops import codes

    tokens = []

    def predict(name, variables, batch):
        found = side.predict(name, variables, batch)
        if name == "reconstruct":
            tokens.append(found["tokens"])
        return found

    def data(split, batches, seed):
        del seed
        loader = loader_of(config, split)
        yield from (next(loader) for _ in range(batches))
        loader.close()

    found = dict(reconstruction.Evaluator(predict, data, BATCHES).run({}, step))
    counts_LK = codes.counts(np.concatenate(tokens), config.model.num_codes)
    figures = {
        "mse": found["mse"],
        "mse_over_copy": 10 ** (-found["psnr_over_copy"] / 10),
        "delta_psnr": found["delta_psnr"],
        "codes_used": codes.usage(counts_LK).mean(),
        "perplexity": codes.perplexity(counts_LK).mean(),
    }
    figures = {name: float(f"{value:.4g}") for name, value in figures.items()}
    return {"parameters": side.parameters(), **figures}


CASES = {"step": train_step, "quality": quality}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lapa", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--gpu", action="store_true")
    options = parser.parse_args()
    options.device = "cuda" if options.gpu else "cpu"
    if not options.gpu:
        one_thread()
    import laq_sides as sides  # only now, as jax and torch count the cores

    if not options.gpu:
        sides.torch.set_num_threads(1)
    for case in options.cases.split(","):
        for figures in CASES[case](options, sides):
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
