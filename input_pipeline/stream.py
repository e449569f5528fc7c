"""Batches of frames from TFRecord files, local or remote, by pure tf.data.

The only reader that imports TensorFlow. No Python runs between file and batch: index arithmetic
names, chunk by chunk of a source, the frames that are needed; every record of the chunk is read
once, its checksum verified, and only these frames of it are kept, encoded, while the rows of the
chunk are decoded. A source holds two chunks: the one in use, and the next, which is read meanwhile.
B batch, T frames of a row, H W pixels; a chunk has E episodes, M frames and N rows.
"""

import functools
import itertools
import logging
import os
import sys
import weakref

import numpy as np

from input_pipeline import decode
from input_pipeline.errors import DataError

HEADER = 12  # bytes of a TFRecord before its payload
AHEAD = 6  # batches that TensorFlow may be ahead of the one that is asked for
log = logging.getLogger(__name__)


def batches(sources, order, layout, first, size):
    """Endless iterator over uint8 [B,T,H,W,3], the frames of batch number `first` and on.

    size: B; batch i holds the rows i*B and on of `order`, a `plan.Plan` (its cycle, position,
    visits and chunk_end). DataError names the frame and the file that cannot be read.
    """
    tf = _tensorflow()
    feeds = [_Feed(tf, sources[s], order, int(s), first * size) for s in np.unique(order.cycle)]
    ahead = AHEAD + layout.threads // size
    try:
        iterator = None
        for number in itertools.count(first):
            position = order.position((number + ahead) * size)
            for feed in feeds:
                feed.fill(position)
            if iterator is None:
                dataset = _dataset(tf, feeds, order, layout, first * size, size)
                iterator = dataset.as_numpy_iterator()
            try:
                frames_BTHWC = next(iterator)
            except tf.errors.OpError as error:
                raise _blame(tf, sources, order, layout, number * size, size, error) from error
            yield frames_BTHWC
    finally:
        for feed in feeds:
            feed.close()


class _Feed:
    """The chunks of one source, handed to tf.data through a queue, so that no thread of TensorFlow
    ever waits for Python (one that does cannot be stopped). It must be closed before TensorFlow's
    iterator goes, which may crash where it waits for a chunk; the end of the program does so."""

    def __init__(self, tf, source, order, s, row):
        self.source, self.s, self._order = source, s, order
        self._begin = self._end = int(order.position(row)[s])
        self.queue = tf.queue.FIFOQueue(2**31 - 1, [tf.string, *[tf.int64] * 6])
        self.close = weakref.finalize(self, self.queue.close)

    def fill(self, position):
        """Hands over the chunks of the source's rows before position[s] and one more."""
        while self._begin <= position[self.s]:
            self._begin, self._end = self._end, self._order.chunk_end(self.s, self._end)
            rows = np.arange(self._begin, self._end)
            self.queue.enqueue(_chunk(self.source, *self._order.visits(self.s, rows)))


@functools.cache
def _tensorflow():
    """TensorFlow, kept away from the accelerators: it only feeds data."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" not in sys.modules:
        log.info("starting TensorFlow, which takes some seconds")
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        try:
            tf.config.set_visible_devices([], kind)
        except RuntimeError as error:  # someone computed with TensorFlow before
            log.warning("TensorFlow may keep %s memory for itself: %s", kind, error)
    return tf


def _dataset(tf, feeds, order, layout, row, size):
    """The batches from row number `row` on, as a tf.data.Dataset."""
    ways = [_way(feed.source, layout.image_size) for feed in feeds]
    kinds = sorted(set(ways))
    # as functions of TensorFlow they are traced once for all sources
    read = tf.function(functools.partial(_read_chunk, tf, layout.threads), autograph=False)
    rows = tf.function(functools.partial(_rows, tf), autograph=False)
    streams = []
    for feed, way in zip(feeds, ways, strict=True):
        chunk = functools.partial(_dequeue, tf, feed.queue, kinds.index(way), layout.frames)
        chunks = tf.data.Dataset.from_tensors(0).repeat().map(chunk)
        streams.append(chunks.map(read).prefetch(1).flat_map(rows))
    dataset = streams[0]
    if len(streams) > 1:
        live = [feed.s for feed in feeds]
        cycle = np.searchsorted(live, np.roll(order.cycle, -(row % len(order.cycle))))
        choice = tf.data.Dataset.from_tensor_slices(cycle).repeat()
        dataset = tf.data.Dataset.choose_from_datasets(streams, choice)
    finish = tf.function(functools.partial(_decode_row, tf, kinds, layout), autograph=False)
    dataset = dataset.map(finish, num_parallel_calls=layout.threads, deterministic=True)
    return dataset.batch(size, drop_remainder=True).prefetch(2).with_options(_options(tf, layout))


def _options(tf, layout):
    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = layout.threads
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    # map and batch, made one, would wait for rows that never come after a row that failed
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_warm_start = True  # every source reads its first chunk at once
    return options


def _way(source, size):
    """How images of a source are decoded: (ratio, swap, fast, whether the set says JPEG)."""
    field = source.episode_set.fields[source.keys.image]
    ratio = decode.ratio(field.shape, field.encoding, size)
    return ratio, source.keys.swap, decode.fast(field.shape, size), field.encoding == "jpeg"


def _chunk(source, episode_N, times_NT):
    """What a chunk of these rows needs: file (bytes), offset, begin, end int64 [E] (begin:end are
    the frames of an episode); start, length int64 [M] (bytes of a frame in its record); places
    int64 [N,T] (of the rows' frames, 0..M-1)."""
    table = source.table
    frame_NT = table.first[episode_N][:, None] + times_NT
    frame_M, places_NT = np.unique(frame_NT, return_inverse=True)
    owner_M = np.searchsorted(table.first, frame_M, "right") - 1
    episode_E, begin_E, count_E = np.unique(owner_M, return_index=True, return_counts=True)
    return (
        [source.episode_set.files[file] for file in table.file[episode_E]],
        table.offset[episode_E] - HEADER,
        begin_E,
        begin_E + count_E,
        table.frame_offset[frame_M],
        table.frame_length[frame_M].astype(np.int64),
        places_NT.reshape(frame_NT.shape),
    )


def _dequeue(tf, queue, kind, frames, _):
    """The next `_chunk` of a source, and `kind`."""
    *columns, places_NT = queue.dequeue()
    columns = [tf.ensure_shape(column, [None]) for column in columns]
    return *columns, tf.ensure_shape(places_NT, [None, frames]), kind


def _read_chunk(tf, threads, file, offset, begin, end, start, length, places_NT, kind):
    """The encoded frames of a chunk, string [M]; places_NT and kind as they came."""

    def episode(file, offset, begin, end):
        def frames(record):
            wanted = tf.data.Dataset.from_tensor_slices((start[begin:end], length[begin:end]))
            return wanted.map(lambda first, count: tf.strings.substr(record, first, count))

        return _record(tf, file, offset).flat_map(frames)

    episodes = tf.data.Dataset.from_tensor_slices((file, offset, begin, end))
    count = tf.size(start, tf.int64)
    if threads == 1:
        frames = episodes.flat_map(episode)
    else:  # the same order, with a few records read at a time
        frames = episodes.interleave(
            episode, threads, block_length=count, num_parallel_calls=threads, deterministic=True
        )
    # an episode that is not there would move all frames after it: reshape is an error then
    frames_M = tf.reshape(frames.batch(count).get_single_element(), tf.shape(start))
    return frames_M, places_NT, kind


def _rows(tf, frames_M, places_NT, kind):
    """Dataset of the rows of a chunk: encoded frames, string [T], and kind."""
    places = tf.data.Dataset.from_tensor_slices(places_NT)
    return places.map(lambda places_T: (tf.gather(frames_M, places_T), kind))


def _record(tf, file, offset):
    """Dataset of one element: the payload of the record that begins there, verified."""
    stored = tf.raw_ops.TFRecordDatasetV2(
        filenames=file[None],
        compression_type="",
        buffer_size=tf.constant(0, tf.int64),
        byte_offsets=offset[None],
    )
    return tf.data.experimental.from_variant(stored, tf.TensorSpec([], tf.string)).take(1)


def _decode_row(tf, kinds, layout, encoded_T, kind):
    """Encoded frames, string [T] -> uint8 [T,H,W,3]; kind: which of `kinds`, see `_way`."""

    def decoded(*way):
        times = range(layout.frames)
        return tf.stack([_decode(tf, encoded_T[t], layout.image_size, *way) for t in times])

    if len(kinds) == 1:
        return decoded(*kinds[0])
    return tf.switch_case(kind, [functools.partial(decoded, *way) for way in kinds])


def _decode(tf, encoded, size, ratio, swap, fast, is_jpeg):
    """An encoded image -> RGB uint8 [size,size,3], as `decode.into` does it.

    Despite its name decode_jpeg decodes PNG as well; `ratio` and `fast` mean nothing there.
    """
    with tf.control_dependencies([] if is_jpeg else _checks(tf, encoded)):
        image_HWC = tf.io.decode_jpeg(
            encoded,
            channels=3,
            ratio=ratio,
            dct_method="INTEGER_FAST" if fast else "INTEGER_ACCURATE",
            fancy_upscaling=not fast,
        )
    height, width = tf.shape(image_HWC)[0], tf.shape(image_HWC)[1]
    fits = tf.logical_and(height == size, width == size)
    resize = functools.partial(_resize, tf, image_HWC, height, width, size)
    square_HWC = tf.ensure_shape(tf.cond(fits, lambda: image_HWC, resize), (size, size, 3))
    return square_HWC[..., ::-1] if swap else square_HWC


def _checks(tf, encoded):
    """Fails unless it is a JPEG or a PNG of 8 bits a channel."""
    is_png = tf.strings.substr(encoded, 0, len(decode.PNG)) == decode.PNG
    eight_bits = tf.strings.substr(encoded, decode.PNG_DEPTH, 1) != b"\x10"
    good = tf.logical_or(tf.io.is_jpeg(encoded), tf.logical_and(is_png, eight_bits))
    return [tf.debugging.Assert(good, ["neither a JPEG nor a PNG of 8 bits a channel"])]


def _resize(tf, image_HWC, height, width, size):
    """uint8 [height,width,3] -> uint8 [size,size,3], see `decode.averaged`."""
    most, least = tf.maximum(height, width), tf.minimum(height, width)
    averaged = tf.logical_and(least >= size, 2 * most > 3 * size)
    how = {"images": image_HWC[None], "size": (size, size)}
    resized = tf.cond(
        averaged,
        lambda: tf.raw_ops.ResizeArea(**how),
        lambda: tf.raw_ops.ResizeBilinear(**how, half_pixel_centers=True),
    )
    return tf.cast(resized[0] + 0.5, tf.uint8)


def _blame(tf, sources, order, layout, row, size, error):
    """The DataError that names what cannot be read: a frame of the rows row..row+size-1, or a
    record of the chunks that these begin."""
    source_B = order.cycle[(row + np.arange(size)) % len(order.cycle)]
    asked = []
    for s in np.unique(source_B):
        begin = int(order.position(row)[s])
        end = begin + int((source_B == s).sum())
        asked.append((s, end))
        episode_N, times_NT = order.visits(s, np.arange(begin, end))
        for episode, times_T in zip(episode_N, times_NT, strict=True):
            for step in times_T:
                why = _fault(tf, sources[s], episode, step, layout.image_size)
                if why:
                    return decode.unreadable(sources[s], episode, step, why)
    for s, end in asked:
        rest = np.arange(end, order.chunk_end(s, end - 1))
        episode_N, times_NT = order.visits(s, rest)
        for episode, n in zip(*np.unique(episode_N, return_index=True), strict=True):
            step = times_NT[n, 0]
            why = _fault(tf, sources[s], episode, step, layout.image_size)
            if why:
                return decode.unreadable(sources[s], episode, step, why)
    return DataError(f"a batch could not be read ({decode.first_line(error)}); run it again")


def _fault(tf, source, episode, step, size):
    """What is wrong with a stored frame, None if nothing is."""
    table, field = source.table, source.episode_set.fields[source.keys.image]
    file = tf.constant(source.episode_set.files[table.file[episode]])
    place = table.first[episode] + step
    try:
        record = _record(tf, file, tf.constant(table.offset[episode] - HEADER, tf.int64))
        payload = record.get_single_element().numpy()
        start = table.frame_offset[place]
        encoded = payload[start : start + table.frame_length[place]]
        frame_HWC = np.empty((size, size, 3), np.uint8)
        decode.into(encoded, frame_HWC, decode.ratio(field.shape, field.encoding, size))
    except Exception as error:
        return error
    return None
