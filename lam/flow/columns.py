"""The columns of summary.parquet, one row a pair, and how they are written.

N pairs. x right, y down; every column says its unit in the metadata of the file.
"""

import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

ROW_GROUP = 8192  # rows that are written together
PAIR = {
    "episode": (pa.string(), "file below SOURCE, or dataset/episode"),
    "step": (pa.int32(), "number of frame 1 in its episode, from 0"),
    "gap": (pa.int32(), "steps from frame 1 to frame 2"),
    "seconds": (pa.float32(), "seconds from frame 1 to frame 2, NaN where the rate is not known"),
    "height": (pa.int32(), "pixels of the frames"),
    "width": (pa.int32(), "pixels of the frames"),
}
KINDS = {
    "raw": "of the flow as it is",
    "median": "of the flow less its median, for cameras that shift",
    "affine": "of the flow less its affine background, for cameras that also turn or come closer",
}
VECTORS = {
    "mean": "mean displacement over all pixels",
    "weighted": "mean displacement weighted by its length",
    "thresholded": "mean displacement over the moving pixels, 0 where there are none",
    "background": "what was taken away from the flow, at the centre of the frame",
}
NUMBERS = {
    "moving_fraction": (pa.float32(), "share of the pixels that move, 0..1"),
    "is_static": (pa.bool_(), "whether so few pixels move that nothing does"),
    "coherence": (pa.float32(), "|sum| over sum of lengths: 1 all in one direction, 0 none"),
}


def table():
    """{column: (type, what it is)}, in order; those of flow as `flat` names them."""
    found = dict(PAIR)
    for kind, of in KINDS.items():
        for name, what in VECTORS.items():
            for axis in "xy":
                found[f"{kind}_{name}_{axis}"] = (pa.float32(), f"pixels: {what}; {of}")
        for name, what in VECTORS.items():
            for axis, side in zip("xy", ("width", "height"), strict=True):
                text = f"{side}s of the frame per second, NaN where seconds are: {what}; {of}"
                if name != "background":
                    found[f"{kind}_{name}_rate_{axis}"] = (pa.float32(), text)
        found |= {f"{kind}_{name}": (t, f"{text}; {of}") for name, (t, text) in NUMBERS.items()}
    return found


def flat(summary):
    """Columns {name: [N]} of a `lam.ops.motion.summary`, numpy; vectors [N,2] as _x and _y."""
    found = {}
    for kind, numbers in summary.items():
        for name, value in numbers.items():
            one = {"": value} if value.ndim == 1 else {"_x": value[:, 0], "_y": value[:, 1]}
            found |= {f"{kind}_{name}{axis}": column for axis, column in one.items()}
    return found


class Writer:
    """summary.parquet as a context; holds no more than ROW_GROUP rows in memory."""

    def __init__(self, path, about):
        """about: {text: text}, kept in the metadata of the file beside the columns."""
        columns = table()
        texts = json.dumps({name: text for name, (_, text) in columns.items()})
        fields = [(name, kind) for name, (kind, _) in columns.items()]
        self._schema = pa.schema(fields, metadata=about | {"columns": texts})
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._waiting, self._rows = [], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._flush()
        self._writer.close()

    def add(self, batch, summary):
        """Rows of a `pairs.Batch` and the summary of its flow."""
        count, _, height, width, _ = batch.frames.shape
        size = {"height": np.full(count, height), "width": np.full(count, width)}
        pair = {name: getattr(batch, name) for name in ("episode", "step", "gap", "seconds")}
        rows = pa.RecordBatch.from_pydict(pair | size | flat(summary), schema=self._schema)
        self._waiting.append(rows)
        self._rows += count
        if self._rows >= ROW_GROUP:
            self._flush()

    def _flush(self):
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
        self._waiting, self._rows = [], 0
