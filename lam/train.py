"""The one training loop."""

import dataclasses
import logging
import math
import signal
import threading

import jax
from clu import parameter_overview

import input_pipeline
from input_pipeline.batch import device_part
from lam import checkpoint, evaluation, metrics, optim, progress, registry, sharding, step, workdir
from lam import state as state_lib

log = logging.getLogger(__name__)


def make_task(config):
    """The task of a config, its compute type decided for the devices at hand."""
    given = config.to_dict()
    given["model"]["dtype"] = workdir.compute_dtype(given["model"])
    return registry.load("lam.tasks", config.task).make(given)


def make_loader(config):
    """This process's share of the training batches."""
    return input_pipeline.make(
        config.data,
        config.batch_size,
        shard_index=jax.process_index(),
        shard_count=jax.process_count(),
        seed=config.seed,
    )


def parameter_table(params):
    """Every parameter with its shape and size, as text; the sizes of the parts go to the log."""
    sizes = {name: parameter_overview.count_parameters(part) for name, part in params.items()}
    parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    log.info("%s parameters (%s), listed in parameters.txt", f"{sum(sizes.values()):,}", parts)
    return parameter_overview.get_parameter_overview(params, include_stats=False)


def stop_signal():
    """A function that tells whether SIGTERM came; only a main thread can listen for it."""
    came = threading.Event()
    if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
        signal.signal(signal.SIGTERM, lambda *_: came.set())
    return came.is_set


def train_and_evaluate(config, folder, mode="train"):
    """Trains or resumes the run in `folder`; evaluates it at the end.

    Args:
      config: ConfigDict as in configs/common.py.
      folder: the workdir; one that is finished is only evaluated.
      mode: "train", or "eval" to evaluate the newest checkpoint and stop.

    Returns:
      {"evaluator/metric": float} of the last evaluation; empty when stopped before one.
    """
    if mode == "eval":
        checkpoint.find(folder)
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(mesh, config.batch_size, config.grad_accum)
    task = make_task(config)
    optimizer, schedule = optim.make(config.optim, config.total_steps)
    workdir.prepare(folder, config)
    loader = make_loader(config)
    scales = {"statistics": loader.statistics()}
    first = next(loader)
    batch = sharding.put_local(device_part(first), mesh)
    frozen = sharding.place(task.frozen(), mesh, task.sharding)
    create, shapes = step.initialiser(config, task, optimizer, mesh, batch, frozen)
    blank = create
    if task.start:  # the baseline without training has no weights of a file
        fresh = dataclasses.replace(task, start="")
        blank, _ = step.initialiser(config, fresh, optimizer, mesh, batch, frozen)
    evaluators = evaluation.build(config, task, mesh, first, blank)
    workdir.check_disk(folder, shapes)

    with checkpoint.manager(folder, config.best_mode) as ckpts:
        start = ckpts.latest_step() or 0
        with progress.working("initialising the model"):
            state = create()
            if start:
                state, position = checkpoint.restore(ckpts, start, shapes)
        loader.set_state(position if start else {"batch": 0})
        if mode == "eval" or start >= config.total_steps:
            return evaluation.run(evaluators, state_lib.variables(state, frozen), start, folder)

        workdir.record(folder, config, parameter_table(state.params))
        compiled, flops = step.compile_step(
            config, task, optimizer, schedule, mesh, shapes, frozen, batch
        )
        meter = metrics.Meter(config, flops, lambda: checkpoint.last_good(folder))
        shown = progress.Steps(config.total_steps, start)
        stop, worst = stop_signal(), math.inf if config.best_mode == "min" else -math.inf
        with metrics.Writer(folder, start) as writer:
            for number in range(start + 1, config.total_steps + 1):
                data = meter.next_batch(loader)
                arrays = sharding.put_local(device_part(data), mesh)
                state, scalars = compiled(state, frozen, arrays)
                meter.add(number, scalars, data["key"])
                shown.update(number, meter.loss)

                last = number == config.total_steps
                stopping = number == config.stop_at or stop() or ckpts.reached_preemption(number)
                row, results = {}, {}
                if last or stopping or due(config.log_every, number):
                    row |= meter.report()
                    tell_health(task, row, number, config)
                if last or due(config.eval_every, number):
                    with meter.paused():
                        view = state_lib.variables(state, frozen)
                        results = evaluation.run(evaluators, view, number, folder)
                    row |= results
                if row:
                    ckpts.check_for_errors()
                    writer.write(number, row)
                if last or stopping or due(config.checkpoint_every, number):
                    with meter.paused():
                        best = results.get(config.best_metric, worst)
                        checkpoint.save(ckpts, state, loader.get_state() | scales, best)
                if stopping and not last:
                    ckpts.wait_until_finished()
                    progress.show(f"stopped at step {number}; run again to go on", end=True)
                    return {}
    return results


def tell_health(task, row, number, config):
    """The model's health, ten times a run at most; a warning when there is one."""
    line, warning = task.health(row)
    tenth = config.total_steps // 10
    if line and due(config.log_every * max(1, tenth // max(config.log_every, 1)), number):
        progress.show(f"step {number}: {line}", end=True)
        if warning:
            log.warning("step %d: %s", number, warning)


def due(every, number):
    return every > 0 and number % every == 0
