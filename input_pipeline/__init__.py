"""From storage to batches of numpy arrays; knows nothing of models and imports no TensorFlow.

`make(config.data, global_batch, ...)` is the only name a training loop needs.
"""


def make(data, global_batch, *, shard_index=0, shard_count=1, seed=0, split="train"):
    """A loader of frame pairs: see `input_pipeline.loader.make`, or of random words for tasks that
    make their data themselves: `input_pipeline.procedural.make`, for data["sources"]="procedural".
    """
    options = {"shard_index": shard_index, "shard_count": shard_count, "seed": seed, "split": split}
    if data.get("sources") == "procedural":
        from input_pipeline import procedural

        return procedural.make(global_batch, **options)
    from input_pipeline import loader

    return loader.make(data, global_batch, **options)
