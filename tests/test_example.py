"""Walking a serialized Example in place gives what protobuf gives, or a ValueError."""

import mmap
import struct
import time

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline import example

LISTS = st.one_of(
    st.lists(st.binary(max_size=300)),
    st.lists(st.floats(width=32)),
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.integers(0, 100)),
)
EXAMPLES = st.dictionaries(st.text(max_size=40), LISTS, max_size=6)
FIELD = {"bytes": "bytes_list", "float": "float_list", "int": "int64_list"}


def kind_of(values):
    """The kind of a list; an empty one is taken for floats."""
    return {bytes: "bytes", float: "float", int: "int"}[type(values[0]) if values else float]


def message(lists):
    """The protobuf Example of {key: list}."""
    made = tf_example_pb2.Example()
    for key, values in lists.items():
        stored = getattr(made.features.feature[key], FIELD[kind_of(values)])
        stored.SetInParent()
        stored.value.extend(values)
    return made


def by_protobuf(serialized):
    """{key: (kind, values)} of an Example, keys without a list left out."""
    found = {}
    for key, feature in tf_example_pb2.Example.FromString(serialized).features.feature.items():
        for kind, field in FIELD.items():
            if feature.HasField(field):
                values = list(getattr(feature, field).value)
                found[key] = kind, np.array(values, np.float32) if kind == "float" else values
    return found


def by_walking(buffer, start=0, end=None):
    """The same by input_pipeline.example."""
    found = {}
    for key, entry in example.entries(buffer, start, len(buffer) if end is None else end).items():
        if entry.kind == "bytes":
            offset, length = example.spans(buffer, entry)
            assert offset.dtype == length.dtype == np.int64
            values = [bytes(buffer[o : o + n]) for o, n in zip(offset, length, strict=True)]
        else:
            values = example.numbers(buffer, entry)
            assert values.dtype == (np.float32 if entry.kind == "float" else np.int64)
            values = values if entry.kind == "float" else values.tolist()
        found[key] = entry.kind, values
    return found


def check_same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, (kind, values) in found.items():
        assert kind == wanted[key][0]
        np.testing.assert_array_equal(values, wanted[key][1])


@hypothesis.given(EXAMPLES, st.sampled_from([bytes, memoryview, bytearray]))
def test_any_example_is_read_as_protobuf_reads_it(lists, buffer_type):
    serialized = message(lists).SerializeToString()
    check_same(by_walking(buffer_type(serialized)), by_protobuf(serialized))


@hypothesis.given(EXAMPLES, st.binary(max_size=20), st.binary(max_size=20))
def test_an_example_amid_other_bytes_of_a_file(tmp_path_factory, lists, before, after):
    serialized = message(lists).SerializeToString()
    path = tmp_path_factory.mktemp("file") / "file"
    path.write_bytes(before + serialized + after + b"end")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file:
        start = len(before)
        check_same(by_walking(file, start, start + len(serialized)), by_protobuf(serialized))


def varint(value):
    """A number as protobuf writes it."""
    value &= 2**64 - 1
    code = bytearray()
    while value > 127:
        code.append(value & 127 | 128)
        value >>= 7
    return bytes([*code, value])


def delimited(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def one_key(key, number, payload):
    """A hand-written Example of one key, whose list is field `number` (1 bytes, 2 float, 3 int)."""
    feature = delimited(2, delimited(number, payload))
    return delimited(1, delimited(1, delimited(1, key) + feature))


@hypothesis.given(st.lists(st.lists(st.floats(width=32, allow_nan=False)), max_size=4), st.data())
def test_numbers_one_by_one_or_packed_or_both(parts, data):
    payload = b""
    for part in parts:
        if data.draw(st.booleans()):
            payload += delimited(1, np.array(part, "<f4").tobytes())
        else:
            payload += b"".join(b"\x0d" + struct.pack("<f", value) for value in part)
    serialized = one_key(b"x", 2, payload)
    check_same(by_walking(serialized), by_protobuf(serialized))
    assert by_walking(serialized)["x"][1].tolist() == [value for part in parts for value in part]


@hypothesis.given(
    st.lists(st.lists(st.integers(-(2**63), 2**63 - 1)), max_size=4), st.booleans(), st.data()
)
def test_whole_numbers_one_by_one_or_packed_or_both(parts, unknown, data):
    payload = delimited(9, b"a field of a later version") if unknown else b""
    for part in parts:
        if data.draw(st.booleans()):
            payload += delimited(1, b"".join(map(varint, part)))
        else:
            payload += b"".join(b"\x08" + varint(value) for value in part)
    serialized = one_key(b"x", 3, payload)
    check_same(by_walking(serialized), by_protobuf(serialized))
    assert by_walking(serialized)["x"][1] == [value for part in parts for value in part]


@hypothesis.given(EXAMPLES.filter(bool), st.data())
def test_a_cut_off_example_is_an_error(lists, data):
    serialized = message(lists).SerializeToString()
    end = data.draw(st.integers(1, len(serialized) - 1))
    with pytest.raises(ValueError, match="byte"):
        by_walking(serialized[:end])
    with pytest.raises(ValueError, match="byte"):  # cut off inside a larger file
        by_walking(serialized, 0, end)


@hypothesis.given(EXAMPLES.filter(bool), st.lists(st.tuples(st.integers(0), st.integers(1, 255))))
def test_changed_bytes_are_an_error_or_what_protobuf_reads(lists, changes):
    code = bytearray(message(lists).SerializeToString())
    for place, change in changes:
        code[place % len(code)] ^= change
    check_sound(bytes(code))


@hypothesis.given(st.binary(max_size=60))
def test_garbage_is_an_error_or_what_protobuf_reads(code):
    check_sound(code)
    check_sound(delimited(1, code))
    check_sound(delimited(1, delimited(1, code)))
    for number in (1, 2, 3):
        check_sound(one_key(b"x", number, code))


def check_sound(code):
    """Walking may refuse more than protobuf does, but what it reads is the same."""
    try:
        found = by_walking(code)
    except ValueError:
        return
    check_same(found, by_protobuf(code))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (one_key(b"x", 1, b"\x0d1234"), "wire type 5"),
        (one_key(b"x", 2, delimited(1, b"12345")), "5 bytes of 4-byte numbers"),
        (one_key(b"x", 3, delimited(1, b"\x80")), "does not end"),
        (one_key(b"x", 3, delimited(1, b"\x80" * 10 + b"\x01")), "11 bytes"),
        (one_key(b"x", 3, b"\x0d1234"), "wire type 5"),
        (one_key(b"\xff", 3, b""), "utf-8"),
        (delimited(1, delimited(1, b"\x0b")), "wire type 3"),
        (delimited(1, delimited(1, delimited(2, delimited(1, b"") * 2))), "more than one list"),
        (b"\x00\x00", "field 0"),
        (b"\x0a\xff\xff\xff\xff\x0f", "does not fit"),
    ],
)
def test_what_is_wrong_is_said(code, words):
    with pytest.raises(ValueError, match=words):
        by_walking(code)


def test_bounds_outside_the_buffer():
    for start, end in ((0, 3), (-1, 1), (2, 1)):
        with pytest.raises(ValueError, match="of 2"):
            example.entries(b"ab", start, end)


def test_kinds_are_not_mistaken():
    code = message({"n": [1], "b": [b"one"]}).SerializeToString()
    found = example.entries(code, 0, len(code))
    with pytest.raises(ValueError, match="where numbers are needed"):
        example.numbers(code, found["b"])
    with pytest.raises(ValueError, match="where texts or images are needed"):
        example.spans(code, found["n"])


def test_texts():
    code = message({"t": ["Löffel".encode(), b"", b"\xff!"]}).SerializeToString()
    assert example.texts(code, example.entries(code, 0, len(code))["t"]) == [
        "Löffel",
        "",
        "\ufffd!",
    ]
    code = message({}).SerializeToString() + one_key(b"t", 1, b"")
    assert example.texts(code, example.entries(code, 0, len(code))["t"]) == []


def test_a_key_without_a_list_and_a_key_twice():
    bare = delimited(1, delimited(1, delimited(1, b"x") + delimited(2, b"")))
    assert example.entries(bare, 0, len(bare)) == {}
    twice = one_key(b"x", 3, b"\x08\x01") + one_key(b"x", 3, b"\x08\x02")
    check_same(by_walking(twice), by_protobuf(twice))
    assert by_walking(twice) == {"x": ("int", [2])}


def test_images_are_not_copied():
    """An episode of 30 images of 26 kB, as of RT-1, is walked in a fraction of a millisecond."""
    lists = {"image": [bytes(26_000)] * 30, "action": [0.5] * 210, "text": [b"lift it"] * 30}
    lists |= {f"observation/{i}": [0.1] * 210 for i in range(20)}
    code = message(lists).SerializeToString()
    best = np.inf
    for _ in range(30):
        began = time.perf_counter()
        found = example.entries(code, 0, len(code))
        offset, _ = example.spans(code, found["image"])
        example.numbers(code, found["action"])
        example.texts(code, found["text"])
        best = min(best, time.perf_counter() - began)
    assert len(offset) == 30
    assert best < 600e-6  # 0.13 ms alone on a machine
