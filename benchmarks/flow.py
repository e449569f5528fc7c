"""RAFT against torchvision's, both live in one process; one JSON line a size, with the ratio.

python benchmarks/flow.py [--sizes=small,large] [--side=256] [--updates=12] [--batch=1]

On a CPU both get one thread of one core and batch 1. On a GPU take --batch=64: torch eager and
`torch.compile`, both with TF32, and ours with TF32, in bfloat16 but for the feature encoder, and
wholly in bfloat16. Rounds alternate between the sides, so that other load hits both; times are
medians in seconds a batch, ratios medians over rounds. Needs torch and torchvision
(launch/requirements-oracles.txt); without them only our side is measured.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

CORE = min(os.sched_getaffinity(0))


def one_thread():
    """One core for whatever is imported later."""
    os.sched_setaffinity(0, {CORE})
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
    )


def import_peer():
    """(torch, torchvision's RAFT by size), or (None, {}).

    Next to a CPU build of torch the import of torchvision fails without the empty module.
    """
    try:
        import torch

        if not torch.cuda.is_available():
            name = "torchvision._meta_registrations"
            sys.modules.setdefault(name, types.ModuleType(name))
        from torchvision.models import optical_flow
    except ImportError:
        return None, {}
    return torch, {"small": optical_flow.raft_small, "large": optical_flow.raft_large}


def peers(torch, make, frames, updates, gpu):
    """(state dict, {name: function of no arguments that returns the flow [B,H,W,2]})."""
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    model = make(weights=None).eval().to("cuda" if gpu else "cpu")
    pair = [torch.from_numpy(x).permute(0, 3, 1, 2).to(next(model.parameters())) for x in frames]

    def call(net):
        with torch.inference_mode():
            flow = net(*pair, updates)[-1]
        if gpu:
            torch.cuda.synchronize()
        return flow.permute(0, 2, 3, 1)

    functions = {"torch": lambda: call(model)}
    if gpu:
        compiled = torch.compile(model)
        functions["torch_compile"] = lambda: call(compiled)
    return {k: x.cpu().numpy() for k, x in model.state_dict().items()}, functions


def ours(size, tree, frames, updates, gpu):
    """({name: function as above}, bytes of scratch memory by number of updates)."""
    import jax
    import jax.numpy as jnp

    from lam.models.raft import Raft

    frames, tree = jax.device_put((frames, tree))
    single, half = jnp.dtype("float32"), jnp.dtype("bfloat16")
    kinds = {
        "jax": (single, single),
        "jax_bfloat16": (half, single),
        "jax_all_bfloat16": (half, half),
    }
    functions, scratch = {}, {}
    for name, (dtype, feature_dtype) in kinds.items():
        model = Raft(size, dtype=dtype, feature_dtype=feature_dtype)

        def lower(updates, model=model):
            step = jax.jit(lambda tree, frames: model.apply(tree, *frames, updates))
            return step.lower(tree, frames).compile()

        step = lower(updates)
        functions[name] = lambda step=step: step(tree, frames).block_until_ready()
        if not gpu:
            scratch = {n: lower(n).memory_analysis().temp_size_in_bytes for n in (1, 12, 32)}
            break
    return functions, scratch


def measure(functions, rounds, clock=time.perf_counter):
    """{name: seconds of each round, by `clock`}; the first call of each is not counted."""
    times = {name: [] for name in functions}
    for i in range(rounds + 1):
        for name, function in functions.items():
            start = clock()
            function()
            if i:
                times[name].append(clock() - start)
    return times


def run(size, options, torch, makers):
    import jax
    import numpy as np

    from lam.convert import raft as convert
    from lam.models.raft import Raft

    gpu = jax.default_backend() == "gpu"
    shape = (options.batch, options.side, options.side, 3)
    rng = np.random.default_rng(0)
    frames = [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(2)]
    figures = {"case": f"raft_{size}", "device": jax.devices()[0].device_kind}
    figures |= {k: getattr(options, k) for k in ("batch", "side", "updates", "rounds")}
    if torch:
        state, functions = peers(torch, makers[size], frames, options.updates, gpu)
        tree = convert.to_tree(state)[2]
    else:
        functions, zeros = {}, np.zeros((1, 128, 128, 3), np.float32)
        tree = jax.jit(Raft(size).init)(jax.random.key(0), zeros, zeros)
    our_functions, scratch = ours(size, tree, frames, options.updates, gpu)
    functions |= our_functions
    reference = np.asarray(functions["jax"]())
    for name, function in functions.items():
        flow = function()
        flow = flow.cpu().numpy() if name.startswith("torch") else np.asarray(flow, np.float32)
        figures[f"deviation_{name}"] = float(f"{np.abs(flow - reference).mean():.2g}")
    times = measure(functions, options.rounds)
    figures |= {name: round(statistics.median(x), 4) for name, x in times.items()}
    for peer in ("torch", "torch_compile"):
        if peer in times:
            pairs = zip(times[peer], times["jax"], strict=True)
            figures[f"ratio_{peer}"] = round(statistics.median(a / b for a, b in pairs), 2)
    figures["scratch_mib"] = {n: round(size / 2**20, 1) for n, size in scratch.items()}
    print(json.dumps(figures), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="small,large")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    one_thread()  # harmless for a GPU
    torch, makers = import_peer()
    if torch:
        torch.set_num_threads(1)
    for size in options.sizes.split(","):
        run(size, options, torch, makers)


if __name__ == "__main__":
    main()
