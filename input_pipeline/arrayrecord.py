"""Reading episodes from ArrayRecord files with grain and Pillow; TensorFlow is never imported.

One element of the grain pipeline is a whole batch: its records are read together, and only the two
frames of each pair are decoded, by a few threads, into one array.
B batch, T the two frames, G steps between them, H W pixels, A action dims, S state dims.
"""

import concurrent.futures
import io
import logging
import math
import time

import numpy as np

from input_pipeline.errors import DataError
from input_pipeline.sources import Record

CHUNK = 64
log = logging.getLogger(__name__)


def scan(episode_set, keys, on_corrupt):
    """Every episode of the set, no image decoded: (list of Record, number of episodes lost)."""
    records, lost, said = [], 0, time.monotonic()
    for file, path in enumerate(episode_set.files):
        promised = episode_set.lengths[file]
        try:
            stored = _open([path])
        except Exception as error:
            if on_corrupt == "error":
                raise _corrupt(path, 0, error) from error
            lost += promised
            continue
        if len(stored) != promised and on_corrupt == "error":
            raise DataError(
                f"{path}: holds {len(stored)} episodes, dataset_info.json promises {promised}; "
                "copy it again or set config.data.on_corrupt=skip"
            )
        lost += max(0, promised - len(stored))
        for first in range(0, len(stored), CHUNK):
            for record in range(first, min(first + CHUNK, len(stored))):
                try:
                    features = _parse(stored[record])
                except Exception as error:
                    if on_corrupt == "error":
                        raise _corrupt(path, record, error) from error
                    lost += 1
                    continue
                records.append(_record(features, file, record, keys, episode_set))
            if time.monotonic() - said > 2:
                said = time.monotonic()
                log.info("%s: %d episodes scanned", episode_set.name, len(records))
    return records, lost


def batches(sources, rows_of, layout, first):
    """Endless iterator over the readers' part of a batch, from batch number `first`.

    rows_of(i, n) -> arrays source, record (place in the source's records) and start, one entry a
    row, of batches i..i+n-1. Yields frames uint8 [B,T,H,W,3], action float32 [B,G,A],
    state float32 [B,T,S], text (list of B str).
    """
    import grain

    stores = [_store(source.episode_set, source.records) for source in sources]
    pool = concurrent.futures.ThreadPoolExecutor(layout.threads)

    def one(batch):
        return _batch(sources, stores, rows_of(int(batch), 1), layout, pool)

    numbers = grain.MapDataset.range(first, 2**62)
    ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    return iter(numbers.map(one).to_iter_dataset(ahead))


def _open(files):
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource(list(files))


def _store(episode_set, records):
    """The open files that hold a usable record, and the place of each file's first record."""
    used = sorted({record.file for record in records})
    files = [episode_set.files[file] for file in used]
    base = np.cumsum([0] + [len(_open([file])) for file in files])
    return _open(files), dict(zip(used, base.tolist(), strict=False))


def _parse(record):
    """{flat key: its feature} of one serialized episode."""
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example.FromString(record).features.feature


def _values(features, key):
    """The repeated values under `key`, empty if the episode lacks it."""
    if key is None or key not in features:
        return []
    feature = features[key]
    kind = feature.WhichOneof("kind")
    return getattr(feature, kind).value if kind else []


def _record(features, file, record, keys, episode_set):
    steps = len(_values(features, keys.image))
    for key in (*keys.action, *keys.state):
        if len(_values(features, key)) != steps * episode_set.fields[key].size:
            raise DataError(
                f"{episode_set.files[file]}: record {record} has {steps} images and not as many "
                f"entries of {key}; choose another key or repair the set"
            )
    rate = _values(features, keys.rate)
    return Record(
        file=file,
        record=record,
        offset=0,
        length=0,
        steps=steps,
        scene=_first_text(features, keys.scene),
        path=_first_text(features, keys.episode),
        rate=float(rate[0]) if len(rate) and rate[0] > 0 else math.nan,
    )


def _first_text(features, key):
    values = _values(features, key)[:1]
    return None if not values else _text(values[0])


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _corrupt(path, record, error):
    what = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return DataError(
        f"{path}: record {record} cannot be read ({what}); copy the file again or set "
        "config.data.on_corrupt=skip"
    )


def _batch(sources, stores, rows, layout, pool):
    """The rows of one batch, read source by source and decoded by `pool`."""
    count, size = len(rows["start"]), layout.image_size
    frames_BTHWC = np.empty((count, 2, size, size, 3), np.uint8)
    action_BGA = np.zeros((count, layout.gap, layout.action_dim), np.float32)
    state_BTS = np.zeros((count, 2, layout.state_dim), np.float32)
    text, jobs = [""] * count, []
    for s in np.unique(rows["source"]):
        source, (store, base) = sources[s], stores[s]
        mine = np.flatnonzero(rows["source"] == s)
        found = [source.records[rows["record"][row]] for row in mine]
        serialized = store.__getitems__([base[r.file] + r.record for r in found])
        for row, one in zip(mine, serialized, strict=True):
            features, start = _parse(one), int(rows["start"][row])
            ends = (start, start + layout.gap)
            images = _values(features, source.keys.image)
            name = source.names[rows["record"][row]]
            ratio = source.episode_set.fields[source.keys.image].jpeg_ratio(size)
            jobs += [
                (images[t], ratio, frames_BTHWC[row, i], f"{source.name}/{name}@{t}")
                for i, t in enumerate(ends)
            ]
            fields = source.episode_set.fields
            steps = range(start, start + layout.gap)
            window = _window(features, source.keys.action, fields, steps)
            action_BGA[row, :, : window.shape[1]] = window
            ends_TS = _window(features, source.keys.state, fields, ends)
            state_BTS[row, :, : ends_TS.shape[1]] = ends_TS
            words = _values(features, source.keys.language)
            text[row] = _text(words[min(start, len(words) - 1)]) if words else ""
    chunk = max(1, math.ceil(len(jobs) / (4 * layout.threads)))
    parts = [jobs[i : i + chunk] for i in range(0, len(jobs), chunk)]
    for _ in pool.map(_decode_all, parts):
        pass
    return {"frames": frames_BTHWC, "action": action_BGA, "state": state_BTS, "text": text}


def _window(features, keys, fields, steps):
    """The numbers of `keys` at `steps`, joined: float32 [len(steps), dims]."""
    parts = []
    for key in keys:
        size, values = fields[key].size, _values(features, key)
        parts.append(
            np.array([values[t * size : (t + 1) * size] for t in steps], np.float32).reshape(
                len(steps), size
            )
        )
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(steps), 0), np.float32)


def _decode_all(jobs):
    for encoded, ratio, frame_HWC, where in jobs:
        try:
            frame_HWC[:] = decode(encoded, len(frame_HWC), ratio)
        except Exception as error:
            raise DataError(
                f"{where}: the image cannot be decoded ({error}); remove the episode"
            ) from error


def decode(encoded, size, ratio=1):
    """An encoded image -> RGB uint8 [size,size,3].

    A JPEG shrinks by `ratio` (1, 2, 4, 8) while it is decoded, which averages and saves time; a
    triangle filter (bilinear where it enlarges) does the rest.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(encoded))
    if ratio > 1:
        image.draft("RGB", (image.width // ratio, image.height // ratio))
    if image.mode != "RGB":
        image = image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
