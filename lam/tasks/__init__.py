"""What the train loop asks of a task: one module here per trainable thing.

`make(config) -> Task`: the only thing the loop calls by name; `config` is a plain mapping, of which
a task reads "model" and sections of its own. `Task` is a frozen dataclass of Flax modules and
numbers, hashable, without arrays:

- `start`: the file of weights that `init` begins with, "" for random ones.
- `frozen() -> tree of numpy arrays`: nets that are not trained, read from their files; {} for none.
- `init(rng, batch, frozen) -> params, extra`: `batch` is real and on the device, the first that
  `loss` will see (a micro-batch where gradients are accumulated), `frozen` on the device, too;
  `extra` counters and other state of the task.
- `loss(params, frozen, extra, batch, rng) -> scalar, (extra, metrics)`: pure.
- `post_step(params, extra, rng) -> params, extra`: after the update, e.g. re-seeds dead codes.
- `health(row) -> line, warning`: two texts from the means of a window's metrics: how the model is,
  and what is wrong and what to do; "" for nothing to say.
- `predict: {name: fn(variables, batch) -> dict of per-example arrays}`: what evaluators may ask
  for; `variables` holds "params", "frozen" and "extra".
- `sharding: ((regex, PartitionSpec), ...)`: how parameters lie on the mesh.

Arrays reach these functions as arguments, never through a closure, so that one compiled program
serves any weights.
"""
