"""Batches of frames by random access to local files, with grain and threads, without TensorFlow.

One element of the grain pipeline is a whole batch. Only the wanted frames are read and decoded, by
a few threads, straight into the batch; of ArrayRecord files of episodes, which know no other way,
the whole episode is read.
B batch, T frames of a row, H W pixels, N rows of one source.
"""

import concurrent.futures
import math
import os
import resource
import threading
import typing

import numpy as np

from input_pipeline import decode
from input_pipeline.errors import DataError

SPARE_FILES = 256  # that the rest of the program may have open


class Frame(typing.NamedTuple):
    """One frame that a batch needs: `length` bytes from `start` of a record (frame or episode), or
    of the file where that is a TFRecord file; of which episode and step; where in the batch."""

    source: int
    file: int
    record: int
    start: int
    length: int
    episode: int
    step: int
    row: int
    t: int


class _Store:
    """The files of one source, each opened when it is first needed, and how to decode them."""

    def __init__(self, source, size):
        self.source, self.files = source, source.episode_set.files
        field = source.episode_set.fields[source.keys.image]
        self.ratio = decode.ratio(field.shape, field.encoding, size)
        self.fast = decode.fast(field.shape, size)
        self._plain = source.episode_set.storage == "tfrecord"
        self._open, self._lock = {}, threading.Lock()

    def __del__(self):
        if self._plain:
            for descriptor in self._open.values():
                os.close(descriptor)

    def read(self, frame):
        """The bytes of the frame's record; of the frame alone in a TFRecord file."""
        with self._lock:
            if frame.file not in self._open:
                self._open[frame.file] = self._opened(self.files[frame.file])
            stored = self._open[frame.file]
        if self._plain:
            return os.pread(stored, frame.length, frame.start)
        return stored.read([frame.record])[0]

    def _opened(self, path):
        if self._plain:
            return os.open(path, os.O_RDONLY)
        from array_record.python.array_record_module import ArrayRecordReader

        options = "readahead_buffer_size:0,max_parallelism:1"
        return ArrayRecordReader(path, options=options, file_reader_buffer_size=1 << 15)


def batches(sources, rows_of, layout, first):
    """Endless iterator over uint8 [B,T,H,W,3], the frames of batch number `first` and on.

    rows_of(i): {"source": int64 [B], "episode": int64 [B] (place in the source's table), "times":
    int64 [B,T] (steps)} of batch i. The sources may differ in storage. DataError names the frame
    that cannot be read.
    """
    import grain

    _check(sources)
    stores = [_Store(source, layout.image_size) for source in sources]
    pool = concurrent.futures.ThreadPoolExecutor(layout.threads, thread_name_prefix="decode")

    def one(number):
        return _batch(stores, rows_of(int(number)), layout, pool)

    ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    return iter(grain.MapDataset.range(first, 2**62).map(one).to_iter_dataset(ahead))


def _check(sources):
    """Makes room for all files to be open; DataError where the system does not allow it."""
    needed = SPARE_FILES + sum(len(source.episode_set.files) for source in sources)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < needed:
        if resource.RLIM_INFINITY != hard < needed:
            raise DataError(
                f"the sources need {needed} open files and this system allows {hard}; "
                f"raise its limit (ulimit -Hn {needed}) or name fewer sources"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _batch(stores, rows, layout, pool):
    """The frames of one batch: uint8 [B,T,H,W,3]."""
    shape = (*rows["times"].shape, layout.image_size, layout.image_size, 3)
    frames_BTHWC = np.empty(shape, np.uint8)
    work = [frame for s in np.unique(rows["source"]) for frame in _frames(stores, rows, int(s))]
    work.sort()  # frames of one record come together
    part = max(1, math.ceil(len(work) / (4 * layout.threads)))
    parts = [work[i : i + part] for i in range(0, len(work), part)]
    for _ in pool.map(lambda mine: _fill(stores, mine, frames_BTHWC), parts):
        pass
    return frames_BTHWC


def _frames(stores, rows, s):
    """List of Frame: all that the batch needs of source s."""
    source = stores[s].source
    storage, table = source.episode_set.storage, source.table
    row = np.flatnonzero(rows["source"] == s)
    episode, times_NT = rows["episode"][row], rows["times"][row]
    step_NT = table.first[episode][:, None] + times_NT
    record_NT = table.record[episode][:, None] + (times_NT if storage == "frames" else 0)
    start_NT = table.frame_offset[step_NT]
    if storage == "tfrecord":
        start_NT = start_NT + table.offset[episode][:, None]
    columns = [
        table.file[episode][:, None],
        record_NT,
        start_NT,
        table.frame_length[step_NT],
        episode[:, None],
        times_NT,
        row[:, None],
        np.arange(times_NT.shape[1]),
    ]
    columns = [np.broadcast_to(column, step_NT.shape).reshape(-1).tolist() for column in columns]
    return [Frame(s, *values) for values in zip(*columns, strict=True)]


def _fill(stores, work, frames_BTHWC):
    """Reads and decodes some frames into their places in the batch."""
    known, record = None, b""
    for frame in work:
        store = stores[frame.source]
        storage = store.source.episode_set.storage
        try:
            if storage != "array_record":
                encoded = store.read(frame)
            else:
                if frame[:3] != known:
                    known, record = frame[:3], store.read(frame)
                encoded = record[frame.start : frame.start + frame.length]
            place_HWC = frames_BTHWC[frame.row, frame.t]
            decode.into(encoded, place_HWC, store.ratio, store.source.keys.swap, store.fast)
        except Exception as error:
            raise decode.unreadable(store.source, frame.episode, frame.step, error) from error
