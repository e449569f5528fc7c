"""What the train loop asks of a task: one module here per trainable thing.

`make(model) -> Task`: `model` is a plain mapping (`config.model`); the only thing the loop calls by
name. `Task` is a frozen dataclass of Flax modules and numbers, hashable, without arrays:

- `init(rng, batch) -> params, frozen, extra`: `batch` is real and on the device, the first that
  `loss` will see (a micro-batch where gradients are accumulated); `frozen` are nets that are not
  trained, `extra` counters and other state of the task's own.
- `loss(params, frozen, extra, batch, rng) -> scalar, (extra, metrics)`: pure.
- `post_step(params, extra, rng) -> params, extra`: after the update, e.g. re-seeds dead codes.
- `predict: {name: fn(variables, batch) -> dict of per-example arrays}`: what evaluators may ask
  for; `variables` holds "params", "frozen" and "extra".
- `sharding: ((regex, PartitionSpec), ...)`: how parameters lie on the mesh.

Arrays reach these functions as arguments, never through a closure, so that one compiled program
serves any weights.
"""
