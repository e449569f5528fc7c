"""The flow of every pair of a source: summarised in a table, drawn for some pairs.

N pairs, H W pixels.
"""

import contextlib
import json
import shutil
import time
from pathlib import Path

import jax
import numpy as np

from input_pipeline.ordered import spread
from lam import flow, plots, progress
from lam.errors import UserError
from lam.flow import columns, estimator, files, source
from lam.ops import motion

TABLE, PICTURES, FIELDS = "summary.parquet", "pictures.png", "flow"  # what there may be of a run
LIMITS = {  # option: (at least, at most)
    "updates": (1, 1000),
    "limit": (0, 10**12),
    "pictures": (0, 200),
    "size": (estimator.LEAST, 8192),
}
LABEL = 14  # characters that fit beside a row of pictures


def run(given, out, weights="shipped", updates=12, pictures=12, save="", **wanted):
    """Writes summary.parquet, pictures.png and for save="flo" flow/ROW.flo into the folder `out`.

    They appear when all is done, or not at all.

    Args:
      given: SOURCE, a video, a folder of videos or of pictures, or a data set.
      weights, updates: as `lam.flow.load` and its estimator take them.
      pictures: pairs that are drawn, spread evenly over all.
      wanted: fields of `source.Wanted`.

    Returns:
      What was done, one line.

    Raises:
      UserError, DataError: a mistake in the options, the source or the weights; one line.
    """
    check({"updates": updates, "pictures": pictures} | wanted)
    folder = free(Path(out).expanduser())
    net = flow.load(weights)
    pairs = source.find(given, source.Wanted(**wanted), estimator.at_once)
    about = {"source": given, "weights": weights, "updates": str(updates)}
    about["weights_metadata"] = json.dumps(net.about)
    began = time.monotonic()
    with whole(folder) as part:
        fields = part / FIELDS if save == "flo" else None
        with columns.Writer(part / TABLE, about) as table:
            drawn, static = summarise(Measure(net, updates), pairs, table, pictures, fields)
        if drawn:
            name = "/".join(Path(given).parts[-2:])[-40:]
            title = f"{name}: {len(drawn)} of {pairs.total:,} pairs"
            plots.save(plots.flows(*zip(*drawn, strict=True), title), part / PICTURES)
    seconds = time.monotonic() - began
    places = [str(folder / name) for name in (TABLE, PICTURES, FIELDS) if (folder / name).exists()]
    return (
        f"{pairs.total:,} pairs, {static / pairs.total:.0%} static, {seconds:.0f} s, "
        f"{pairs.total / seconds:.3g} pairs/s with compiling: {', '.join(places)}"
    )


def check(numbers):
    """UserError for an option that is not within its LIMITS; None is not given."""
    for option, (least, most) in LIMITS.items():
        value = numbers.get(option)
        if value is not None and not least <= value <= most:
            raise UserError(f"--{option}={value} must be a whole number from {least} to {most}")


def free(folder):
    """The folder, which may be there; UserError where it holds the results of a run."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out={folder} is a file; name a folder")
    for name in (TABLE, PICTURES, FIELDS):
        if (folder / name).exists():
            raise UserError(f"{folder / name} is there already; remove it or name another folder")
    return folder


@contextlib.contextmanager
def whole(folder):
    """A folder to write into; what is in it goes to `folder` in the end, or away after an error."""
    part = folder / "flow.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for path in sorted(part.iterdir()):  # the table is the last one
            path.rename(folder / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


class Measure:
    """The flow of batches and what it says; compiles once for each size of frames."""

    def __init__(self, net, updates):
        self._net, self._updates = net, updates
        self._summary, self._known = jax.jit(motion.summary), set()

    def __call__(self, batch):
        """(flow float32 [N,H,W,2], its `motion.summary` with numpy [N] and [N,2]) of a Batch."""
        count, _, height, width, _ = batch.frames.shape
        new = (height, width) not in self._known
        self._known.add((height, width))
        told = progress.working(f"compiling for {height} x {width} pixels")
        # a batch that is not full is filled up, as another number would be compiled anew
        rows = np.minimum(np.arange(max(count, estimator.at_once(height, width))), count - 1)
        with told if new else contextlib.nullcontext():
            first, second = np.moveaxis(batch.frames[rows], 1, 0)
            flow_NHW2 = self._net(first, second, self._updates)
            summary = jax.device_get(self._summary(flow_NHW2, batch.seconds[rows]))
        return flow_NHW2[:count], jax.tree.map(lambda x: x[:count], summary)


def summarise(measure, pairs, table, pictures, fields=None):
    """Goes once through all pairs.

    Args:
      measure: a Measure.
      table: a `columns.Writer`, gets every pair.
      pictures: how many pairs are kept to be drawn.
      fields: folder for a .flo file of every pair, named by its row in the table; None for none.

    Returns:
      [(frame 1, frame 2, flow, label)] as `plots.flows` draws them, and how many pairs are static.
    """
    count = min(pictures, pairs.total)
    chosen = set(spread(np.arange(count), count, pairs.total).tolist())
    if fields:
        fields.mkdir()
    done, static, drawn, shown = 0, 0, [], None
    for batch in pairs.batches:
        flow_NHW2, summary = measure(batch)
        table.add(batch, summary)
        static += int(summary["raw"]["is_static"].sum())
        for row, field in enumerate(flow_NHW2):
            if fields:
                files.write(fields / f"{done + row:08d}.flo", field)
            if done + row in chosen:
                first, second = batch.frames[row] / np.float32(255)
                drawn.append((first, second, field.copy(), label(batch, row)))
        done += len(flow_NHW2)
        if shown:
            shown.update(done)
        shown = shown or progress.Steps(pairs.total, done, "pairs")  # from the compiled net on
    return drawn, static


def label(batch, row):
    """The end of "episode@step" that fits beside a row of pictures."""
    text = f"{batch.episode[row]}@{batch.step[row]}".rpartition("/")[2]
    return text if len(text) <= LABEL else "…" + text[1 - LABEL :]
