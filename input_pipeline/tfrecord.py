"""Reading episodes from TFRecord files by pure tf.data: no Python runs between file and batch.

The only module of the loader that imports TensorFlow. A row of the plan becomes one read at a byte
offset (checksums verified), one parse of the wanted keys and two decoded frames.
B batch, T the two frames, G steps between them, H W pixels, A action dims, S state dims.
"""

import functools
import logging
import math
import os
import sys
import time

import numpy as np

from input_pipeline.errors import DataError
from input_pipeline.sources import Record

BLOCK = 65536  # rows handed to tf.data at a time
FRAME = 16  # bytes of lengths and checksums around every record
log = logging.getLogger(__name__)


def scan(episode_set, keys, on_corrupt):
    """Every episode of the set, no image decoded: (list of Record, number of episodes lost)."""
    tf = _tensorflow()
    records, lost, said = [], 0, time.monotonic()
    for file in range(len(episode_set.files)):
        before, problem = len(records), ""
        try:
            for record in _scan_file(episode_set, file, keys):
                records.append(record)
                if time.monotonic() - said > 2:
                    said = time.monotonic()
                    log.info("%s: %d episodes scanned", episode_set.name, len(records))
        except tf.errors.DataLossError as error:
            problem = _first_line(error)
        read, promised = len(records) - before, episode_set.lengths[file]
        lost += max(0, promised - read)
        if on_corrupt == "error" and (problem or read != promised):
            raise DataError(
                f"{episode_set.files[file]}: record {read} of {promised} cannot be read "
                f"({problem or f'the file holds {read} records'}); copy the file again or set "
                "config.data.on_corrupt=skip"
            )
    return records, lost


def batches(sources, rows_of, layout, first):
    """Endless iterator over the readers' part of a batch, from batch number `first`.

    rows_of(i, n) -> arrays source, record (place in the source's records) and start, one entry a
    row, of batches i..i+n-1. Yields frames uint8 [B,T,H,W,3], action float32 [B,G,A],
    state float32 [B,T,S], text (list of B str).
    """
    tf = _tensorflow()
    files = tf.constant([file for source in sources for file in source.episode_set.files])
    places = _places(sources)
    read = functools.partial(_read, tf, files, sources, layout)
    size = len(rows_of(first, 1)["start"])
    ahead = max(1, BLOCK // size)
    while True:
        rows = _with_places(rows_of(first, ahead), places)
        dataset = tf.data.Dataset.from_tensor_slices(rows)
        dataset = dataset.map(read, num_parallel_calls=layout.threads, deterministic=True)
        dataset = dataset.batch(size, drop_remainder=True).prefetch(4)
        iterator = dataset.with_options(_options(tf, layout.threads)).as_numpy_iterator()
        for number in range(ahead):
            try:
                batch = next(iterator)
            except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
                chunk = slice(number * size, (number + 1) * size)
                mine = {key: value[chunk] for key, value in rows.items()}
                raise _blame(tf, read, sources, mine, error) from error
            yield batch | {"text": [text.decode("utf-8", "replace") for text in batch["text"]]}
        first += ahead


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


def _options(tf, threads):
    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    return options


def _scan_file(episode_set, file, keys):
    """Yield the Record of each episode of one file; DataLossError where the file is damaged."""
    tf = _tensorflow()
    wanted = [keys.image, *keys.action, *keys.state, keys.scene, keys.episode, keys.rate]
    features = {key: _feature(tf, episode_set.fields[key], ()) for key in wanted if key}

    def parse(serialized):
        found = tf.io.parse_single_example(serialized, features)
        counts = {key: tf.size(found[key]) for key in (keys.image, *keys.action, *keys.state)}
        first = {key: found[key][:1] for key in (keys.scene, keys.episode, keys.rate) if key}
        return tf.strings.length(serialized), counts, first

    path, offset = episode_set.files[file], 0
    dataset = tf.data.TFRecordDataset(path, buffer_size=1 << 20)
    dataset = dataset.map(parse, num_parallel_calls=2, deterministic=True).prefetch(16)
    for record, (length, counts, first) in enumerate(dataset.as_numpy_iterator()):
        steps = int(counts[keys.image])
        for key in (*keys.action, *keys.state):
            if counts[key] != steps * episode_set.fields[key].size:
                raise DataError(
                    f"{path}: record {record} has {steps} images and not as many entries of {key}; "
                    "choose another key or repair the set"
                )
        rate = first.get(keys.rate, ())
        yield Record(
            file=file,
            record=record,
            offset=offset,
            length=int(length),
            steps=steps,
            scene=_text(first.get(keys.scene, ())),
            path=_text(first.get(keys.episode, ())),
            rate=float(rate[0]) if len(rate) and rate[0] > 0 else math.nan,
        )
        offset += int(length) + FRAME


def _feature(tf, field, shape):
    """How to parse one flat key: all its entries, each of `shape`."""
    if field.kind in ("image", "text"):
        dtype = tf.string
    else:
        dtype = tf.float32 if "float" in field.dtype else tf.int64
    return tf.io.FixedLenSequenceFeature(shape, dtype, allow_missing=True)


def _text(values):
    if not len(values):
        return None
    value = values[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value.item())


def _places(sources):
    """For each source, of each of its records: file (in the joint list) and offset, int64 [E]."""
    places, base = [], 0
    for source in sources:
        files = np.array([base + record.file for record in source.records], np.int64)
        offsets = np.array([record.offset for record in source.records], np.int64)
        places.append((files, offsets))
        base += len(source.episode_set.files)
    return places


def _with_places(rows, places):
    """The rows with file and offset: {name: int64 [rows]}."""
    file, offset = np.zeros_like(rows["start"]), np.zeros_like(rows["start"])
    for s in np.unique(rows["source"]):
        mine = rows["source"] == s
        file[mine], offset[mine] = (column[rows["record"][mine]] for column in places[s])
    return rows | {"file": file, "offset": offset}


def _read(tf, files, sources, layout, row):
    """One row -> its frames, action window, states and text: read, parse, decode."""
    stored = tf.raw_ops.TFRecordDatasetV2(
        filenames=tf.gather(files, row["file"])[None],
        compression_type="",
        buffer_size=tf.constant(0, tf.int64),
        byte_offsets=row["offset"][None],
    )
    dataset = tf.data.experimental.from_variant(stored, tf.TensorSpec([], tf.string))
    serialized = dataset.take(1).get_single_element()
    branches = [
        functools.partial(_pair, tf, source, layout, serialized, row["start"]) for source in sources
    ]
    if len(branches) == 1:
        return branches[0]()
    return tf.switch_case(tf.cast(row["source"], tf.int32), branches)


def _pair(tf, source, layout, serialized, start):
    """The two frames and what belongs to them, of an episode of `source`."""
    keys, fields = source.keys, source.episode_set.fields
    vectors = {key: (fields[key].size,) for key in (*keys.action, *keys.state)}
    wanted = [keys.image, *vectors, *([keys.language] if keys.language else [])]
    found = tf.io.parse_single_example(
        serialized, {key: _feature(tf, fields[key], vectors.get(key, ())) for key in wanted}
    )
    ends = tf.stack([start, start + layout.gap])
    size, ratio = layout.image_size, fields[keys.image].jpeg_ratio(layout.image_size)
    images = [_decode(tf, found[keys.image][t], size, ratio) for t in (ends[0], ends[1])]
    steps = tf.range(start, start + layout.gap)
    action_G = [tf.gather(found[key], steps) for key in keys.action]
    state_T = [tf.gather(found[key], ends) for key in keys.state]
    text = tf.constant("")
    if keys.language:  # one entry a step, or one an episode
        words = found[keys.language]
        text = tf.strings.reduce_join(
            words[tf.minimum(start, tf.size(words, start.dtype) - 1)][None]
        )
    return {
        "frames": tf.stack(images),
        "action": _join(tf, action_G, layout.gap, layout.action_dim),
        "state": _join(tf, state_T, 2, layout.state_dim),
        "text": text,
    }


def _join(tf, parts, steps, dims):
    """Vectors [steps, size] side by side, zeros after them: float32 [steps, dims]."""
    parts = [tf.cast(part, tf.float32) for part in parts]
    free = dims - sum(part.shape[-1] for part in parts)
    return tf.ensure_shape(tf.concat([*parts, tf.zeros((steps, free))], axis=1), (steps, dims))


def _decode(tf, encoded, size, ratio):
    """An encoded image -> RGB uint8 [size,size,3], as `arrayrecord.decode` does it.

    Despite its name the op decodes PNG as well, which the decoder cannot shrink.
    """
    whole = functools.partial(tf.io.decode_jpeg, channels=3, dct_method="INTEGER_ACCURATE")
    if ratio == 1:
        image = whole(encoded)
    else:
        is_jpeg = tf.io.is_jpeg(encoded)
        image = tf.cond(is_jpeg, lambda: whole(encoded, ratio=ratio), lambda: whole(encoded))
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    fits = tf.logical_and(rows == size, columns == size)
    square = tf.cond(fits, lambda: image, lambda: _resize(tf, image, rows, columns, size))
    return tf.ensure_shape(square, (size, size, 3))


def _resize(tf, image_HWC, rows, columns, size):
    """uint8 [rows,columns,3] -> uint8 [size,size,3] by a triangle filter, one axis after the other.

    What lies across the axis is flattened into channels: half the time of `tf.image.resize`.
    """
    narrow = _shorten(tf, tf.reshape(image_HWC, (rows, columns * 3)), rows, size)
    turned_WHC = tf.transpose(tf.reshape(narrow, (size, columns, 3)), (1, 0, 2))
    both = _shorten(tf, tf.reshape(turned_WHC, (columns, size * 3)), columns, size)
    rounded = tf.cast(both + 0.5, tf.uint8)
    return tf.transpose(tf.reshape(rounded, (size, size, 3)), (1, 0, 2))


def _shorten(tf, lines_NC, count, size):
    """[count,C] -> float32 [size,C], averaged where that is fewer lines."""
    scale = tf.cast(size, tf.float32) / tf.cast(count, tf.float32)

    def filtered():
        return tf.raw_ops.ScaleAndTranslate(
            images=lines_NC[None, :, None],
            size=[size, 1],
            scale=tf.stack([scale, 1.0]),
            translation=[0.0, 0.0],
            kernel_type="triangle",
            antialias=True,
        )[0, :, 0]

    return tf.cond(count == size, lambda: tf.cast(lines_NC, tf.float32), filtered)


def _blame(tf, read, sources, rows, error):
    """The DataError that names the first of `rows` that cannot be read."""
    for i, (s, record) in enumerate(zip(rows["source"], rows["record"], strict=True)):
        try:
            read({key: tf.constant(value[i]) for key, value in rows.items()})
        except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as problem:
            where = f"{sources[s].name}/{sources[s].names[record]}@{rows['start'][i]}"
            file = sources[s].episode_set.files[sources[s].records[record].file]
            return DataError(
                f"{where}: the pair cannot be read from {file} ({_first_line(problem)}); "
                "copy the file again or remove the episode"
            )
    return DataError(f"a batch could not be read ({_first_line(error)}); run it again")


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
