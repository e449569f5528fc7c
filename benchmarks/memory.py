"""Memory of a training step on devices that are not there: one JSON line.

python benchmarks/memory.py --config=configs/laq.py:large --devices=8 [--config.mesh.fsdp=4 ...]

Compiles the step of a config for so many CPU devices, from shapes alone: nothing is created. What a
GPU or TPU adds to a step differs, as other programs are made there; state and batch are the same.
"""

import json
import math
import os
import sys
import time

from absl import flags
from ml_collections import config_flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lam import cli

CONFIG = config_flags.DEFINE_config_file("config", None, "FILE.py[:VARIANT]", lock_config=True)
DEVICES = flags.DEFINE_integer("devices", 8, "Fake devices.", lower_bound=1)
flags.mark_flags_as_required(["config"])


def main():
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES.value}",
    }
    import jax
    from jax.sharding import NamedSharding

    from input_pipeline import batch as rows
    from lam import optim, sharding, step, train

    c = CONFIG.value
    mesh = sharding.make_mesh(c.mesh)
    sharding.check_batch(mesh, c.batch_size, c.grad_accum)
    spec = rows.spec(c.batch_size, c.data.frames, c.data.image_size, action_dim=2, state_dim=2)
    over = NamedSharding(mesh, sharding.BATCH)
    structs = {k: jax.ShapeDtypeStruct(*shape, sharding=over) for k, shape in spec.items()}
    batch = rows.device_part(structs)
    task = train.make_task(c)
    optimizer, schedule = optim.make(c.optim, c.total_steps)
    frozen = sharding.place(task.frozen(), mesh, task.sharding)
    _, shapes = step.initialiser(c, task, optimizer, mesh, batch, frozen)
    started = time.monotonic()
    compiled, flops = step.compile_step(c, task, optimizer, schedule, mesh, shapes, frozen, batch)
    leaves = jax.tree.leaves(shapes.params)
    own = sum(math.prod(x.sharding.shard_shape(x.shape)) for x in leaves)
    total = sum(x.size for x in leaves)
    found = {
        "parameters": total,
        "share_of_a_device": round(own / total, 4),
        "memory_per_device": step.memory(compiled),
        "compile_seconds": round(time.monotonic() - started, 1),
    }
    if not c.model.get("scan_layers"):  # the compiler counts the body of a loop once
        found["tflop_per_step"] = round(flops / 1e12, 3)
    print(json.dumps({"mesh": dict(mesh.shape), "batch": c.batch_size} | found))


if __name__ == "__main__":
    cli.run(main)
