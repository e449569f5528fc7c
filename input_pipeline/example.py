"""Walking a serialized `tf.train.Example` in place: no TensorFlow, and no image is copied.

A buffer is bytes, a memoryview or an mmap. What comes back are places in it, so an episode of
30 images costs the walk over their lengths and not over their bytes. Whatever is not a well-formed
Example is a ValueError.
n entries of a list.
"""

from typing import NamedTuple

import numpy as np

KINDS = {1: "bytes", 2: "float", 3: "int"}
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
LONGEST = 10  # bytes of a varint of 64 bits


class Entry(NamedTuple):
    """The list under one key. kind: "bytes", "float" or "int"; start, end: of its encoded list."""

    kind: str
    start: int
    end: int


def entries(buffer, start, end):
    """{key: Entry} of the Example in bytes [start, end) of `buffer`; ValueError if it is none.

    A key that holds no list at all, not even an empty one, is left out.
    """
    if not 0 <= start <= end <= len(buffer):
        raise ValueError(f"bytes {start} to {end} of {len(buffer)}")
    found = {}
    for features in _messages(buffer, start, end, 1):
        for pair in _messages(buffer, *features, 1):
            key, feature = _pair(buffer, *pair)
            entry = _entry(buffer, *feature) if feature else None
            if entry:
                found[key] = entry
            else:
                found.pop(key, None)
    return found


def numbers(buffer, entry):
    """The numbers of a list: float32 [n] or int64 [n]; ValueError if it holds bytes."""
    if entry.kind == "bytes":
        raise ValueError("a list of texts or images where numbers are needed")
    packed, single, dtype = (
        (_floats, FIXED32, np.float32) if entry.kind == "float" else (_varints, VARINT, np.int64)
    )
    parts = [np.zeros(0, dtype)]
    for number, wire, low, high in _fields(buffer, entry.start, entry.end):
        if number == 1 and wire in (DELIMITED, single):
            parts.append(packed(buffer, low, high))
        elif number == 1:
            raise ValueError(f"a number of wire type {wire} at byte {low}")
    return parts[1] if len(parts) == 2 else np.concatenate(parts)


def spans(buffer, entry):
    """Where the elements of a list of bytes lie in `buffer`: offset int64 [n], length int64 [n]."""
    if entry.kind != "bytes":
        raise ValueError("a list of numbers where texts or images are needed")
    found = list(_messages(buffer, entry.start, entry.end, 1))
    low_high = np.array(found, np.int64).reshape(-1, 2)
    return low_high[:, 0], low_high[:, 1] - low_high[:, 0]


def texts(buffer, entry):
    """The elements of a list of bytes as list of n str; what is not UTF-8 becomes U+FFFD."""
    offset, length = spans(buffer, entry)
    ends = (offset + length).tolist()
    return [
        bytes(buffer[low:high]).decode("utf-8", "replace")
        for low, high in zip(offset.tolist(), ends, strict=True)
    ]


def _pair(buffer, start, end):
    """Key and (start, end) of the Feature, or None, of one entry of the map."""
    key, feature = "", None
    for number, wire, low, high in _fields(buffer, start, end):
        if number == 1 and wire == DELIMITED:
            key = str(buffer[low:high], "utf-8")
        elif number == 2 and wire == DELIMITED and feature is None:
            feature = low, high
        else:
            raise ValueError(f"a feature of the Example that is none, at byte {low}")
    return key, feature


def _entry(buffer, start, end):
    """The Entry of one Feature, None if it holds no list."""
    entry = None
    for number, wire, low, high in _fields(buffer, start, end):
        if number not in KINDS:
            continue
        if wire != DELIMITED or entry:
            raise ValueError(f"a feature of the Example with more than one list, at byte {low}")
        entry = Entry(KINDS[number], low, high)
    return entry


def _messages(buffer, start, end, wanted):
    """(start, end) of each delimited field number `wanted`; ValueError if it is something else."""
    for number, wire, low, high in _fields(buffer, start, end):
        if number == wanted:
            if wire != DELIMITED:
                raise ValueError(f"field {number} of wire type {wire} at byte {low}")
            yield low, high


def _fields(buffer, start, end):
    """(number, wire type, start, end of the payload) of every field of a message."""
    place = start
    while place < end:
        tag = buffer[place]
        place += 1
        if tag > 127:
            tag, place = _varint(buffer, place - 1, end)
        number, wire = tag >> 3, tag & 7
        if wire == DELIMITED:
            if place >= end:
                raise ValueError(f"cut off at byte {end}")
            size = buffer[place]
            place += 1
            if size > 127:
                size, place = _varint(buffer, place - 1, end)
        elif wire == VARINT:
            size = _varint(buffer, place, end)[1] - place
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {place}")
        if not 0 < number < 1 << 29 or place + size > end:
            raise ValueError(f"field {number} of {size} bytes does not fit at byte {place}")
        yield number, wire, place, place + size
        place += size


def _varint(buffer, place, end):
    """The number at `place` and the place after it."""
    value = shift = 0
    for here in range(place, min(end, place + LONGEST)):
        byte = buffer[here]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, here + 1
        shift += 7
    raise ValueError(f"a number that does not end, at byte {place}")


def _floats(buffer, start, end):
    if (end - start) % 4:
        raise ValueError(f"{end - start} bytes of 4-byte numbers at byte {start}")
    return np.frombuffer(buffer[start:end], "<f4").astype(np.float32)


def _varints(buffer, start, end):
    """int64 [n] of bytes [start, end): 7 bits a byte, low ones first, the last byte below 128."""
    code = np.frombuffer(buffer[start:end], np.uint8)
    last = np.flatnonzero(code < 128)
    if len(code) and (not len(last) or last[-1] != len(code) - 1):
        raise ValueError(f"a number that does not end, at byte {start}")
    if len(last) == len(code):
        return code.astype(np.int64)
    first = np.concatenate([[0], last[:-1] + 1])
    size = last + 1 - first
    if size.max() > LONGEST:
        raise ValueError(f"a number of {size.max()} bytes after byte {start}")
    place = np.arange(len(code)) - np.repeat(first, size)
    bits = (code & np.uint8(127)).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, first).view(np.int64)
