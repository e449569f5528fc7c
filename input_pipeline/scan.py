"""From an opened set and its keys to its table: every episode is walked once, no image is decoded.

TFRecord files are mapped into memory and only what lies between the images is touched; remote ones
are read whole, one at a time. ArrayRecord files are read record by record. A converted set brings
its table with it.
T steps of an episode, A action dims, S state dims.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import mmap
import os
import struct
import time

import numpy as np

from input_pipeline import example, rlds
from input_pipeline.errors import DataError
from input_pipeline.keys import scene_of
from input_pipeline.table import Builder, Table

HEAD, FOOT = 12, 4  # bytes of a TFRecord before the payload (length, checksum) and after it
KEPT = 64 << 20  # bytes of a mapped file that may stay in memory
log = logging.getLogger(__name__)


def scan(episode_set, keys, on_corrupt):
    """The Table of the set. DataError for the first episode that cannot be read or, with
    on_corrupt="skip", only where that leaves none; the others are counted in `lost`.

    The payload's checksum of a TFRecord is checked with "skip" alone: otherwise it is when a pair
    is read.
    """
    if episode_set.storage != "tfrecord" and rlds.is_remote(episode_set.path):
        raise DataError(
            f"{episode_set.path}: ArrayRecord files are read from a disk of this machine; copy or "
            "mount the folder here"
        )
    if episode_set.storage == "frames":
        return _brought(episode_set, keys)
    dims = [sum(episode_set.fields[key].size for key in part) for part in (keys.action, keys.state)]
    builder, problems, dropped, said = Builder(*dims), [], 0, time.monotonic()
    for file in range(len(episode_set.files)):
        for record, found in _episodes(episode_set, file, keys, on_corrupt == "skip"):
            if isinstance(found, DataError):
                if on_corrupt == "error":
                    raise found
                problems.append(found)
            elif found is None:
                dropped += 1
            else:
                builder.add(file=file, record=record, **found)
            if time.monotonic() - said > 2:
                said = time.monotonic()
                log.info("%s: %d episodes scanned", episode_set.name, len(builder))
    if problems and not len(builder) and not dropped:
        raise problems[0]
    if problems:
        words = "%s: %d episodes are left out as unreadable, the first: %s"
        log.warning(words, episode_set.name, len(problems), problems[0])
    return builder.build(lost=len(problems), dropped=dropped)


def _episodes(episode_set, file, keys, check):
    """Of each wanted record of a file (record, what it holds): the columns of the table, None where
    the success filter leaves the episode out, a DataError where it cannot be read."""
    walk = _tfrecords if episode_set.storage == "tfrecord" else _array_records
    path, record = episode_set.files[file], episode_set.skips[file]
    end = record + episode_set.lengths[file]
    try:
        for read in walk(path, record, end):
            yield record, _episode(episode_set, file, record, keys, read, check)
            record += 1
        problem = f"the file holds {record} records"
    except (ValueError, OSError) as error:
        problem = _first(error)
    for lost in range(record, end):
        yield lost, _unreadable(f"{path}: record {lost} of {end}", problem)


def _tfrecords(path, skip, end):
    """Of each of the records skip..end-1 a function of `check` (its checksum, too) that returns
    (buffer, start, stop) of its payload; ValueError where the file is damaged."""
    with _mapped(path) as buffer:
        place = kept = 0
        for record in range(end):
            if place == len(buffer):
                return
            if place + HEAD > len(buffer):
                raise ValueError(f"corrupted record at {place}: cut off")
            length, checksum = struct.unpack_from("<QI", buffer, place)
            if _masked_crc(buffer[place : place + 8]) != checksum:
                raise ValueError(f"corrupted record at {place}: its length is damaged")
            start, stop = place + HEAD, place + HEAD + length
            if stop + FOOT > len(buffer):
                raise ValueError(f"corrupted record at {place}: cut off")
            if record >= skip:
                yield functools.partial(_payload, buffer, start, stop)
            place = stop + FOOT
            if place - kept > KEPT and isinstance(buffer, mmap.mmap):
                kept = place // mmap.PAGESIZE * mmap.PAGESIZE
                buffer.madvise(mmap.MADV_DONTNEED, 0, kept)


def _payload(buffer, start, stop, check):
    if check:
        (checksum,) = struct.unpack_from("<I", buffer, stop)
        if _masked_crc(buffer[start:stop]) != checksum:
            raise ValueError(f"corrupted record at {start - HEAD}: its checksum is another")
    return buffer, start, stop


@contextlib.contextmanager
def _mapped(path):
    """The bytes of a file: mapped into memory, or read if it is empty or remote."""
    if rlds.is_remote(path):
        from etils import epath

        try:
            data = epath.Path(path).read_bytes()
        except Exception as error:  # each file system has its own
            raise OSError(_first(error)) from error
        yield data
        return
    with open(path, "rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            yield b""
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def _masked_crc(data):
    """The checksum of TFRecord: crc32c, turned by 15 bits and shifted by a constant."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _array_records(path, skip, end):
    """As `_tfrecords`; the format checks its own checksums."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    try:
        stored = ArrayRecordDataSource([path])
    except Exception as error:  # the library's own
        raise ValueError(_first(error)) from error
    for record in range(skip, min(end, len(stored))):
        yield functools.partial(_stored, stored, record)


def _stored(stored, record, check):
    del check
    try:
        payload = stored[record]
    except Exception as error:  # the library's own
        raise ValueError(_first(error)) from error
    return payload, 0, len(payload)


def _episode(episode_set, file, record, keys, read, check):
    """Columns of the table, None or DataError; see `_episodes`."""
    where = f"{episode_set.files[file]}: record {record}"
    try:
        buffer, start, stop = read(check)
        found = example.entries(buffer, start, stop)
        if keys.success and not _number(buffer, found, keys.success, where):
            return None
        columns = _steps(buffer, found, keys, episode_set.fields, where)
        columns["frame_offset"] = columns["frame_offset"] - start
        scene = _text(buffer, found.get(keys.scene))
        rate = example.numbers(buffer, found[keys.rate])[:1] if keys.rate in found else ()
        label = f"{episode_set.labels[file]}__{record}"
        return columns | {
            "offset": start,
            "length": stop - start,
            "rate": float(rate[0]) if len(rate) and rate[0] > 0 else math.nan,
            "key": _text(buffer, found.get(keys.episode)) or label,
            "scene": scene and scene_of(scene, keys.scene_pattern),
        }
    except (DataError, ValueError) as error:
        problem = error
    try:
        read(True)  # what makes no sense may be damaged
    except ValueError as error:
        problem = error
    if isinstance(problem, DataError):
        return problem
    end = episode_set.skips[file] + episode_set.lengths[file]
    return _unreadable(f"{where} of {end}", _first(problem))


def _steps(buffer, found, keys, fields, where):
    """The columns of an episode that have an entry for each of its T steps."""
    if keys.image not in found:
        raise DataError(f"{where} has no {keys.image}; choose another key or repair the set")
    offset, length = example.spans(buffer, found[keys.image])
    texts = _texts(buffer, found.get(keys.language), fields.get(keys.language))
    if len(texts) < 2:  # one for the episode, or none
        texts = (texts or [""]) * len(offset)
    if len(texts) != len(offset):
        raise _misfit(where, len(offset), keys.language)
    columns = {
        "action": _vectors(buffer, found, keys.action, fields, len(offset), where),
        "state": _vectors(buffer, found, keys.state, fields, len(offset), where),
        "texts": texts,
        "frame_offset": offset,
        "frame_length": length,
    }
    return {name: column[keys.skip_first :] for name, column in columns.items()}


def _vectors(buffer, found, wanted, fields, steps, where):
    """The vectors of several keys side by side: float32 [T, sum of sizes]."""
    parts = [np.zeros((steps, 0), np.float32)]
    for key in wanted:
        values = example.numbers(buffer, found[key]) if key in found else parts[0]
        if values.size != steps * fields[key].size:
            raise _misfit(where, steps, key)
        parts.append(values.reshape(steps, fields[key].size))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _texts(buffer, entry, field):
    """The texts of a list, stored as such or as code points with zeros after them: list of str."""
    if entry is None:
        return []
    if entry.kind == "bytes":
        return example.texts(buffer, entry)
    codes = example.numbers(buffer, entry)
    if codes.dtype != np.int64 or codes.size % max(field.size, 1):
        raise ValueError(f"{codes.size} numbers are no texts of {field.size} code points")
    rows, number = np.unique(codes.reshape(-1, field.size), axis=0, return_inverse=True)
    texts = [row[row > 0].astype("<u4").tobytes().decode("utf-32-le", "replace") for row in rows]
    return [texts[i] for i in number.ravel()]


def _text(buffer, entry):
    """The first element of a list as text, "" if there is none."""
    if entry is None:
        return ""
    if entry.kind == "bytes":
        return "".join(example.texts(buffer, entry)[:1])
    return "".join(str(value) for value in example.numbers(buffer, entry)[:1].tolist())


def _number(buffer, found, key, where):
    """Whether any number under `key` is not zero."""
    if key not in found:
        raise DataError(f"{where} has no {key}, which tells of success; repair the set")
    return bool(example.numbers(buffer, found[key]).any())


def _brought(episode_set, keys):
    """The table of a converted set, without the columns whose keys are turned off."""
    folder, held = os.path.join(episode_set.path, "table"), episode_set.keys
    try:
        table = Table.load(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = _first(error)
        raise DataError(f"{folder}: no table ({problem}); convert the set again") from error
    if len(table) != sum(episode_set.lengths):
        raise DataError(
            f"{folder}: {len(table)} episodes, {rlds.FRAMES} says {sum(episode_set.lengths)}; "
            "convert the set again"
        )
    without, steps = {}, len(table.text_id)
    for name in ("action", "state"):
        if getattr(held, name) and not getattr(keys, name):
            without[name] = np.zeros((steps, 0), np.float32)
    if held.language and not keys.language:
        without |= {"text_id": np.zeros(steps, np.int32), "texts": ("",)}
    if held.scene and not keys.scene:
        without["scene"] = np.zeros(len(table), np.bytes_)
    return dataclasses.replace(table, **without)


def _unreadable(where, problem):
    return DataError(
        f"{where} cannot be read ({problem}); copy the file again or set "
        "config.data.on_corrupt=skip"
    )


def _misfit(where, steps, key):
    return DataError(
        f"{where} has {steps} images and not as many entries of {key}; choose another key or "
        "repair the set"
    )


def _first(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
