"""What an analysis of tokens knows: two files that were collected once.

N samples (pairs of frames), L token positions, K codes, P samples whose pictures are kept, D dims.
x right, y down.

records.parquet has one row a sample:

| column | type | meaning |
|---|---|---|
| dataset, domain | string | name of the data set; "dataset" or "dataset/robot" |
| episode | string | "dataset/episode", unique |
| step, gap | int32 | number of frame 1 in its episode; steps from frame 1 to frame 2 |
| seconds | float32 | between the frames, NaN where the rate is not known |
| scene | int64 | the split group: scene where the set tells it, else episode |
| text | string | instruction, "" where there is none |
| picture | int32 | row in frames.npz, -1 where the picture is not kept |
| tokens | int32 [L] | tokens of the latent action |
| tokens_random | int32 [L] | those of the same model before training |
| action, state | float32 [D] | summed command; proprioception at frame 1; NaN where there is none |
| raw_..., median_..., affine_... | | motion summary of the flow, see `lam.flow.columns` |

Its metadata "about" (JSON) says what was collected from which run, see `About`.
frames.npz holds `frames` uint8 [P,2,H,W,3], `row` int32 [P] (of the records) and what the decoder
made of some of them, see `analysis.tokens.trials`.
"""

import collections.abc
import dataclasses
import functools
import json
import pathlib

import numpy as np
from pyarrow import parquet

from lam.errors import UserError

TABLE, PICTURES = "records.parquet", "frames.npz"
KIND = "median"  # of the motion summary: less the median flow, for cameras that shift
VECTOR = "weighted"  # by length: the hand and what it carries count, however small


@dataclasses.dataclass(frozen=True)
class About:
    """Where records come from.

    Attributes:
      run, step: name of the workdir's folder and training step of the weights.
      num_codes: K.
      image_size: pixels of a side.
      teacher: weights of the flow teacher, or "exact" for the true flow of tabletop.
      flow_decoder: whether the model has one.
      seed: of all that was drawn.
      split: "val", "test", "train" or "all".
    """

    run: str
    step: int
    num_codes: int
    image_size: int
    teacher: str
    flow_decoder: bool
    seed: int
    split: str


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """All samples as columns, and the pictures of some.

    Attributes:
      columns: {name: numpy array [N] or [N,D]}, see the table above.
      about: About.
      pictures: mapping {name: numpy array}, each read when first asked for; empty where there are
        none.
    """

    columns: dict
    about: About
    pictures: dict

    def __len__(self):
        return len(self.columns["domain"])

    @property
    def tokens_NL(self):
        return self.columns["tokens"]

    @property
    def domain_N(self):
        return self.columns["domain"]

    @property
    def episode_N(self):
        return self.columns["episode"]

    @functools.cached_property
    def domains(self):
        """Names of the domains, sorted."""
        return [str(name) for name in np.unique(self.domain_N)]

    @functools.cached_property
    def timed(self):
        """Whether every sample knows its seconds, so that motions are rates."""
        return bool(np.isfinite(self.columns["seconds"]).all())

    @property
    def unit(self):
        return "frame widths per second" if self.timed else "frame widths per pair"

    @functools.cached_property
    def motion_N2(self):
        """The motion of each sample, background-corrected: float64 [N,2], shares of (W, H), per
        second where all know their seconds, else per pair. NaN where the flow is."""
        return self.vectors(KIND, VECTOR)

    def vectors(self, kind, name):
        """The vectors of one motion summary, as in `motion_N2`; kind "raw", "median", "affine"."""
        pixels_N2 = np.stack([self.columns[f"{kind}_{name}_{axis}"] for axis in "xy"], axis=1)
        seconds_N = self.columns["seconds"] if self.timed else np.ones(len(self))
        return pixels_N2.astype(np.float64) / self.about.image_size / seconds_N[:, None]

    @functools.cached_property
    def known_N(self):
        """Samples whose flow is finite: bool [N]."""
        return np.isfinite(self.motion_N2).all(axis=1)

    @functools.cached_property
    def moving_N(self):
        """Samples in which something moves: bool [N]; the others are set apart."""
        return self.known_N & ~self.columns[f"{KIND}_is_static"].astype(bool)

    def select(self, index):
        """The records of some samples, an index or a mask; pictures stay whole."""
        columns = {name: column[index] for name, column in self.columns.items()}
        return dataclasses.replace(self, columns=columns)


def read(folder):
    """The Records of a folder; UserError where nothing was collected or not to the end."""
    folder = pathlib.Path(folder)
    missing = [name for name in (TABLE, PICTURES) if not (folder / name).exists()]
    if missing:
        raise UserError(f"{folder} has no {' and no '.join(missing)}: collect with --workdir=RUN")
    table = parquet.read_table(folder / TABLE)
    about = About(**json.loads(table.schema.metadata[b"about"]))
    columns = {name: column(table[name]) for name in table.column_names}
    return Records(columns, about, Pictures(folder / PICTURES))


class Pictures(collections.abc.Mapping):
    """The arrays of an .npz file, each read once, when first asked for."""

    def __init__(self, path):
        self._file, self._read = np.load(path), {}

    def __getitem__(self, name):
        if name not in self._read:
            self._read[name] = self._file[name]
        return self._read[name]

    def __iter__(self):
        return iter(self._file)

    def __len__(self):
        return len(self._file.files)


def column(chunked):
    """An arrow column as numpy: [N], or [N,D] of a fixed-size list; text as str."""
    array = chunked.combine_chunks()
    if hasattr(array.type, "list_size"):
        return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)
    values = array.to_numpy(zero_copy_only=False)
    return values.astype(str) if values.dtype == object else values
