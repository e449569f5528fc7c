"""Runs the evaluators of a config on a task, and keeps what they say."""

import contextlib
import json
import logging
import pathlib

import jax
import numpy as np

import input_pipeline
from input_pipeline.batch import device_part
from lam import plots, progress, registry, sharding
from lam.evaluators import in_bucket
from lam.workdir import write_whole

log = logging.getLogger(__name__)

UNTRAINED = 1000  # added to config.seed, for the parameters that are never trained


def build(config, task, mesh, sample, create):
    """{name: Evaluator} of `config.evals`; one that wants what data or model have not is left out
    with a warning.

    Args:
      sample: a host batch: a key counts as there if any of its rows really has it.
      create: see `lam.step.initialiser`, of random weights; called when an evaluator wants an
        untrained model.
    """
    predict = make_predict(task, mesh)
    data = make_data(config)
    untrained = make_untrained(config.seed, create)
    found = {}
    for name, entry in config.evals.items():
        options = entry.to_dict()
        kind, bucket = options.pop("type"), options.pop("bucket", ())
        if not kind:
            continue
        evaluator = registry.load("lam.evaluators", kind).Evaluator
        needs = evaluator.needs(**options) if callable(evaluator.needs) else evaluator.needs
        missing = [f"the data has no {key}" for key in needs if not has(sample, key)]
        asks = getattr(evaluator, "asks", ())
        missing += [f"the model says no {key}" for key in asks if key not in task.predict]
        if missing:
            log.warning("evals.%s is left out: %s", name, ", ".join(missing))
            continue
        more = {"untrained": untrained} if getattr(evaluator, "baseline", False) else {}
        own = in_bucket(data, bucket, f"config.evals.{name}.bucket={bucket}") if bucket else data
        found[name] = evaluator(predict, own, **more, **options)
        next(own(found[name].split, 1, found[name].seed))  # an empty split fails here, not late
    return found


def has(sample, key):
    return key in sample and sample.get(f"{key}_mask", np.True_).any()


def make_data(config):
    """data(split, batches, seed) -> that many whole host batches, equal in every process."""
    loaders = {}

    def data(split, batches, seed):
        if (split, seed) not in loaders:
            with said_already("input_pipeline"):
                loaders[split, seed] = input_pipeline.make(
                    config.data, config.batch_size, seed=seed, split=split
                )
        loader = loaders[split, seed]
        loader.set_state({"batch": 0})
        return (next(loader) for _ in range(batches))

    return data


def make_untrained(seed, create):
    """untrained(variables) -> those of another start, which is the same at every call."""

    def untrained(variables):
        state = create(seed + UNTRAINED)
        return {**variables, "params": state.params, "extra": state.extra}

    return untrained


@contextlib.contextmanager
def said_already(name):
    """Silences a logger: the sources were described when the training loader was made."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def make_predict(task, mesh):
    """predict(name, variables, batch): numpy in, numpy out, computed over the whole mesh."""
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    jitted = {name: jax.jit(fn, out_shardings=whole) for name, fn in task.predict.items()}

    def predict(name, variables, batch):
        out = jitted[name](variables, sharding.put_whole(device_part(batch), mesh))
        return jax.tree.map(np.asarray, out)

    return predict


def run(evaluators, variables, step, workdir):
    """Runs every evaluator; figures and numbers go to `evals/<name>/<step>/`.

    Returns:
      {"name/metric": float} of all evaluators.
    """
    scalars = {}
    for name, evaluator in evaluators.items():
        with progress.working(f"evaluating {name}"):
            results = dict(evaluator.run(variables, step))
        numbers = {key: float(value) for key, value in results.items() if np.isscalar(value)}
        scalars |= {f"{name}/{key}": value for key, value in numbers.items()}
        if jax.process_index() == 0:
            figures = {key: value for key, value in results.items() if key not in numbers}
            store(pathlib.Path(workdir) / "evals" / name / str(step), numbers, figures)
    return scalars


def store(folder, numbers, figures):
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "numbers.json", json.dumps(numbers, indent=2))
    for key, figure in figures.items():
        plots.save(figure, folder / f"{key.replace('/', '_')}.png")
