"""What the train loop asks of a task: one module here per trainable thing.

`make(model) -> Task`: `model` is a plain mapping (`config.model`); the only thing the loop calls by
name. `Task` is a frozen dataclass of Flax modules and numbers, hashable, without arrays:

| part                                                   | meaning                                    |
|--------------------------------------------------------|--------------------------------------------|
| `init(rng, batch) -> params, frozen, extra`            | `batch` is a real first batch, on device;  |
|                                                        | `frozen`: nets that are not trained;       |
|                                                        | `extra`: counters and other state          |
| `loss(params, frozen, extra, batch, rng)`              | pure; `-> scalar, (extra, metrics)`        |
| `post_step(params, extra, rng) -> params, extra`       | after the update, e.g. re-seed dead codes  |
| `predict: {name: fn(variables, batch) -> dict}`        | per-example arrays; `variables` holds      |
|                                                        | "params", "frozen" and "extra"             |
| `sharding: ((regex, PartitionSpec), ...)`              | how parameters lie on the mesh             |

Arrays reach these functions as arguments, never through a closure, so that one compiled program
serves any weights.
"""
