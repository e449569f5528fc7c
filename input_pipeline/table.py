"""Everything of a set but its pictures, in columns: small in memory, on disk, and quick to open.

E episodes, F frames of all of them (one after the other), A action dims, S state dims.
"""

import dataclasses
import functools
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

EPISODE_COLUMNS = {
    "file": np.int32,
    "record": np.int64,
    "offset": np.int64,
    "length": np.int64,
    "steps": np.int32,
    "rate": np.float32,
    "key": np.bytes_,
    "scene": np.bytes_,
}
STEP_COLUMNS = {
    "action": np.float32,
    "state": np.float32,
    "text_id": np.int32,
    "frame_offset": np.int64,
    "frame_length": np.int32,
}
META = "table.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Columns as in EPISODE_COLUMNS [E] and STEP_COLUMNS [F] (action [F,A], state [F,S]).

    file: place in the set's files; record: number in the file of the episode (of its first frame
    where every frame is a record); offset, length: bytes of the record's payload; rate: Hz, NaN
    where unknown; key: unique label, utf-8; scene: b"" where the set has none; frame_offset: from
    the payload's start; texts: instructions, of which text_id names one for each step, the first
    is ""; lost: unreadable episodes; dropped: episodes that the success filter left out.
    """

    file: np.ndarray
    record: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    steps: np.ndarray
    rate: np.ndarray
    key: np.ndarray
    scene: np.ndarray
    action: np.ndarray
    state: np.ndarray
    text_id: np.ndarray
    frame_offset: np.ndarray
    frame_length: np.ndarray
    texts: tuple
    lost: int = 0
    dropped: int = 0

    def __len__(self):
        return len(self.steps)

    @functools.cached_property
    def first(self):
        """Place of every episode's first step, and F at the end: int64 [E+1]."""
        return np.concatenate([[0], np.cumsum(self.steps, dtype=np.int64)])

    def save(self, folder):
        """Writes the columns as .npy files into `folder`, or nothing; what is there stays."""
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name in (*EPISODE_COLUMNS, *STEP_COLUMNS):
                np.save(unfinished / f"{name}.npy", getattr(self, name), allow_pickle=False)
            meta = {name: getattr(self, name) for name in ("texts", "lost", "dropped")}
            (unfinished / META).write_text(json.dumps(meta))
            os.rename(unfinished, folder)
        except OSError:  # another process was quicker
            if not (folder / META).is_file():
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    @classmethod
    def load(cls, folder):
        """The table that `save` wrote; its columns are read from disk when they are needed."""
        folder = Path(folder)
        columns = {
            name: _open(folder / f"{name}.npy") for name in (*EPISODE_COLUMNS, *STEP_COLUMNS)
        }
        meta = json.loads((folder / META).read_text())
        return cls(**columns, **meta | {"texts": tuple(meta["texts"])})


class Builder:
    """Collects episodes one by one, then makes the Table of them."""

    def __init__(self, action_dim, state_dim):
        self._dims = {"action": action_dim, "state": state_dim}
        self._episodes = {name: [] for name in EPISODE_COLUMNS}
        self._steps = {name: [] for name in STEP_COLUMNS}
        self._texts = {"": 0}

    def add(
        self, *, file, record, offset, length, rate, key, scene, action, state, texts,
        frame_offset, frame_length,
    ):  # fmt: skip
        """One episode of T steps: action [T,A], state [T,S], T texts, offsets and lengths [T]."""
        ids = [self._texts.setdefault(text, len(self._texts)) for text in texts]
        episode = (file, record, offset, length, len(frame_offset), rate, key, scene)
        for column, value in zip(self._episodes.values(), episode, strict=True):
            column.append(value)
        step = (action, state, ids, frame_offset, frame_length)
        for (name, dtype), value in zip(STEP_COLUMNS.items(), step, strict=True):
            self._steps[name].append(np.asarray(value, dtype))

    def __len__(self):
        return len(self._episodes["steps"])

    def build(self, lost=0, dropped=0):
        """The Table; a label that occurs more than once gets "#n", n from 0."""
        episodes = {
            name: np.array(self._episodes[name], dtype)
            for name, dtype in EPISODE_COLUMNS.items()
            if name not in ("key", "scene")
        }
        steps = {}
        for name, dtype in STEP_COLUMNS.items():
            shape = (0, self._dims[name]) if name in self._dims else (0,)
            steps[name] = np.concatenate([np.zeros(shape, dtype), *self._steps[name]])
        return Table(
            **episodes,
            **steps,
            key=_bytes(_unique(self._episodes["key"])),
            scene=_bytes(self._episodes["scene"]),
            texts=tuple(self._texts),
            lost=lost,
            dropped=dropped,
        )


def _open(path):
    """An array of a file, mapped into memory unless it is empty, which cannot be mapped."""
    try:
        return np.load(path, mmap_mode="r")
    except ValueError:
        return np.load(path)


def _bytes(labels):
    return np.array([label.encode() for label in labels], np.bytes_)


def _unique(labels):
    """Labels with "#n" after those that occur more than once."""
    total, seen, unique = {}, {}, []
    for label in labels:
        total[label] = total.get(label, 0) + 1
    for label in labels:
        number = seen[label] = seen.get(label, -1) + 1
        unique.append(f"{label}#{number}" if total[label] > 1 else label)
    return unique
