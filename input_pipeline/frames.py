"""An RLDS set becomes a folder of ArrayRecord files with one record a frame, and their table.

`DST/frames-00000-of-00012.array_record` hold whole episodes in the source's order, `DST/table` all
that is not a picture, `DST/frames.json` the rest. Names, labels and scenes stay those of the
source, so that splits do, too. Images are copied as they are, or decoded as training would decode
them and stored again as JPEG.
E episodes, F frames of all of them.
"""

import dataclasses
import functools
import hashlib
import logging
import os
import shutil
from pathlib import Path

import numpy as np

from input_pipeline import decode, oxe, rlds, scan, shards
from input_pipeline import keys as keys_lib
from input_pipeline.errors import DataError
from input_pipeline.table import EPISODE_COLUMNS, STEP_COLUMNS, Table

BYTES_PER_PIXEL = 0.4  # of a JPEG, about
FOOT = 4  # bytes of the checksum after a TFRecord's payload
log = logging.getLogger(__name__)


def convert(src, dst, options):
    """Writes the set `src` (a folder or a registered name) as frames storage `dst`.

    options: split, root, image_key ... scene_key, image_size, quality, on_corrupt, shard_mb and
    those of `shards.HOW`; see `input_pipeline.convert`. Returns the counts that `videos.convert`
    does, or None where `dst` was finished before. DataError for anything wrong.
    """
    shards.check(options)
    episode_set, keys = _open(src, options)
    made_of = {key: value for key, value in options.items() if key not in shards.HOW} | {
        "source": episode_set.path,
        "files": hashlib.sha256(repr(_stamps(episode_set)).encode()).hexdigest(),
    }
    folder = shards.start(dst, made_of)
    if folder is None:
        return None
    source = folder / shards.NOTES / "source"
    if not source.is_dir():
        log.info("%s: reading where its frames are", episode_set.name)
        scan.scan(episode_set, keys, options["on_corrupt"]).save(source)
    table = Table.load(source)
    jobs = _jobs(folder, source, table, episode_set, keys, options)
    notes = shards.run(jobs, write_shard, episode_set.name, options)
    table = _new_table(table, jobs, notes)
    if not len(table):
        raise DataError(f"{episode_set.path}: no episode can be read; check its files")
    table.save(folder / shards.NOTES / "made")
    shutil.rmtree(folder / "table", ignore_errors=True)
    os.replace(folder / shards.NOTES / "made", folder / "table")
    content = _description(episode_set, keys, notes, options) | {"options": made_of}
    shards.finish(folder, dst, rlds.FRAMES, content)
    return _counts(table, notes, content["image"]["shape"])


def write_shard(job, path):
    """Writes the frames of a job's episodes to the file `path`. A work for `shards`.

    Returns counts, and which episodes could not be read and why.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    table, lengths, lost, why = Table.load(job["table"]), [], [], []
    writer = ArrayRecordWriter(path, "group_size:1,uncompressed")
    try:
        for place in job["episodes"]:
            try:
                images = _images(job, table, place)
                if job["image_size"]:
                    images = [_again(job, table, place, *one) for one in enumerate(images)]
            except DataError as error:
                if job["on_corrupt"] == "error":
                    raise
                why.append(str(error))
                lost.append(place)
                images = []
            for image in images:
                writer.write(image)
            lengths += [len(image) for image in images]
            shards.count(1, int(table.length[place]))
    finally:
        writer.close()
    np.save(_lengths(job), np.array(lengths, np.int32))
    counts = {"episodes": len(job["episodes"]) - len(lost), "frames": len(lengths)}
    return counts | {"lost": lost, "why": why}


def _open(src, options):
    """The opened set and its keys."""
    src = str(src)
    episode_set = rlds.open_set(oxe.folder(src, options["root"]), options["split"])
    chosen, name = keys_lib.options(options, 0, 1), episode_set.name
    registered = oxe.get(name)
    held = {"held": episode_set.keys} if episode_set.keys else {}
    return episode_set, keys_lib.find(episode_set.fields, chosen, name, registered, **held)


def _stamps(episode_set):
    """What tells that the source has changed; sizes only of files on this machine's disks."""
    here = not rlds.is_remote(episode_set.path)
    sizes = [Path(file).stat().st_size if here else 0 for file in episode_set.files]
    return [episode_set.files, episode_set.lengths, episode_set.skips, sizes]


def _jobs(folder, source, table, episode_set, keys, options):
    """Consecutive episodes whose frames will take about shard_mb."""
    size, field = options["image_size"], episode_set.fields[keys.image]
    cost = (
        np.full(len(table.frame_length), BYTES_PER_PIXEL * size**2) if size else table.frame_length
    )
    before = np.concatenate([[0], np.cumsum(cost, dtype=np.float64)])[table.first[:-1]]
    shard = (before // (options["shard_mb"] * 1e6)).astype(np.int64)
    ends = [*np.flatnonzero(np.diff(shard)) + 1, len(table)]
    return [
        {
            "folder": str(folder),
            "file": f"frames-{number:05d}-of-{len(ends):05d}.array_record",
            "episodes": range(int(first), int(end)),
            "table": str(source),
            "storage": episode_set.storage,
            "files": episode_set.files,
            "on_corrupt": options["on_corrupt"],
            "image_size": size,
            "ratio": decode.ratio(field.shape, field.encoding, size) if size else 1,
            "swap": keys.swap,
            "quality": options["quality"],
        }
        for number, (first, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]


def _images(job, table, place):
    """The encoded images of one episode: list of bytes. DataError where it is damaged."""
    path, record = job["files"][table.file[place]], int(table.record[place])
    steps = slice(table.first[place], table.first[place + 1])
    try:
        if job["storage"] == "frames":
            return _array_record(path).read(record, record + int(table.steps[place]))
        if job["storage"] == "tfrecord":
            payload = _payload(path, int(table.offset[place]), int(table.length[place]))
        else:
            payload = _array_record(path).read([record])[0]
    except Exception as error:  # each library and file system has its own
        what = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"{path}: record {record} cannot be read ({what}); copy the file again or set "
            "--on_corrupt=skip"
        ) from error
    offsets, lengths = table.frame_offset[steps].tolist(), table.frame_length[steps].tolist()
    return [payload[o : o + n] for o, n in zip(offsets, lengths, strict=True)]


def _payload(path, offset, length):
    """The record at a byte of a TFRecord file; ValueError where its checksum is another."""
    if rlds.is_remote(path):
        stored = _whole(path)[offset : offset + length + FOOT]
    else:
        with open(path, "rb") as file:
            file.seek(offset)
            stored = file.read(length + FOOT)
    payload, checksum = stored[:length], stored[length:]
    if shards.masked_crc(payload) != checksum:
        raise ValueError("its checksum is another")
    return payload


@functools.lru_cache(1)
def _whole(path):
    """All bytes of a remote file; the last one asked for is kept."""
    from etils import epath

    return epath.Path(path).read_bytes()


@functools.lru_cache(1)
def _array_record(path):
    from array_record.python.array_record_module import ArrayRecordReader

    return ArrayRecordReader(path, "readahead_buffer_size:0,max_parallelism:1")


def _again(job, table, place, step, encoded):
    """The image decoded, resized and encoded as JPEG."""
    import simplejpeg

    frame_HWC = np.empty((job["image_size"], job["image_size"], 3), np.uint8)
    try:
        decode.into(encoded, frame_HWC, job["ratio"], job["swap"])
    except ValueError as error:
        raise DataError(
            f"{table.key[place].decode()}@{step}: the image cannot be decoded ({error}); repair "
            "the set or set --on_corrupt=skip"
        ) from error
    return simplejpeg.encode_jpeg(frame_HWC, job["quality"], "RGB", "420")


def _lengths(job):
    """Where the lengths of a shard's records are kept until the table is made."""
    return Path(job["folder"], shards.NOTES, f"{job['file']}.npy")


def _new_table(table, jobs, notes):
    """The table of the frames as they are stored now, without the episodes that were lost."""
    kept = np.ones(len(table), bool)
    kept[[place for note in notes for place in note["lost"]]] = False
    frames = np.repeat(kept, table.steps)
    columns = {name: getattr(table, name)[kept] for name in EPISODE_COLUMNS}
    columns |= {name: getattr(table, name)[frames] for name in STEP_COLUMNS}
    lost = table.lost + len(kept) - int(kept.sum())
    new = dataclasses.replace(table, **columns, lost=lost)
    file = np.repeat(np.arange(len(jobs)), [note["episodes"] for note in notes])
    start = np.cumsum([0] + [note["frames"] for note in notes])
    length = np.concatenate([np.load(_lengths(job)) for job in jobs])
    ends = np.concatenate([[0], np.cumsum(length, dtype=np.int64)])
    return dataclasses.replace(
        new,
        file=file.astype(np.int32),
        record=new.first[:-1] - start[file],
        offset=np.zeros_like(new.offset),
        length=np.diff(ends[new.first]),
        frame_offset=np.zeros_like(new.frame_offset),
        frame_length=length,
    )


def _counts(table, notes, shape):
    seconds, texts = table.steps / table.rate, np.cumsum([0, *(table.text_id > 0)])
    return {
        "episodes": len(table),
        "lost": table.lost,
        "dropped": table.dropped,
        "frames": int(table.steps.sum()),
        "bytes": sum(note["bytes"] for note in notes),
        "seconds": float(seconds[np.isfinite(seconds)].sum()),
        "sizes": [] if None in shape[:2] else [shape[:2]],
        "with_text": int((np.diff(texts[table.first]) > 0).sum()),
        "why": [why for note in notes for why in note["why"]],
    }


def _description(episode_set, keys, notes, options):
    """The content of frames.json but for the options."""
    fields, size = episode_set.fields, options["image_size"]
    field = fields[keys.image]
    image = {"shape": field.shape, "encoding": field.encoding}
    if size:
        image = {"shape": (size, size, 3), "encoding": "jpeg"}
        keys = dataclasses.replace(keys, swap=False)
    own = {keys.image, *keys.action, *keys.state, keys.language, keys.scene}
    own |= {keys.episode, keys.rate}
    counted = ("file", "sha256", "bytes", "episodes", "frames")
    return {
        "format": rlds.FRAMES_FORMAT,
        "name": episode_set.name,
        "source": episode_set.path,
        "image": image,
        "keys": dataclasses.asdict(keys),
        "fields": {key: dataclasses.asdict(fields[key]) for key in sorted(own - {None})},
        "shards": [{name: note[name] for name in counted} for note in notes],
    }
