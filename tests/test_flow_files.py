"""Flow files: round trips, bytes as the formats are published, and damaged files."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lam.errors import UserError
from lam.flow import files as flow_files


@pytest.fixture
def field():
    rng = np.random.default_rng(0)
    return rng.uniform(-500, 500, (7, 5, 2)).astype(np.float32), rng.uniform(size=(7, 5)) < 0.7


def test_flo_is_exact_and_lies_as_published(tmp_path, field):
    flow, _ = field
    path = tmp_path / "a.flo"
    flow_files.write(path, flow)
    data = path.read_bytes()
    assert data[:4] == b"PIEH"
    assert struct.unpack("<ii", data[4:12]) == (5, 7)
    assert struct.unpack("<2f", data[12:20]) == tuple(flow[0, 0])
    assert struct.unpack("<2f", data[20:28]) == tuple(flow[0, 1])
    np.testing.assert_array_equal(cv2.readOpticalFlow(str(path)), flow)
    found, valid = flow_files.read(path)
    np.testing.assert_array_equal(found, flow)
    assert found.dtype == np.float32
    assert valid.all()


def test_flo_of_opencv_is_read(tmp_path, field):
    flow, _ = field
    cv2.writeOpticalFlow(str(tmp_path / "a.flo"), flow)
    np.testing.assert_array_equal(flow_files.read(tmp_path / "a.flo")[0], flow)


def test_kitti_lies_as_published(tmp_path, field):
    flow, valid = field
    path = tmp_path / "a.png"
    flow_files.write(path, flow, valid)
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float64)
    np.testing.assert_array_equal(picture[..., 2], valid)
    stored = (picture[..., :2] - 2**15) / 64
    np.testing.assert_allclose(stored[valid], flow[valid], atol=1 / 128)
    np.testing.assert_array_equal(picture[~valid], 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), kind=st.sampled_from([".flo", ".png", ".PNG"]))
def test_round_trip(tmp_path_factory, seed, kind):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 20, 2)
    flow = rng.uniform(-512, 511, (*shape, 2)).astype(np.float32)
    valid = rng.uniform(size=shape) < 0.8
    if kind != ".flo":
        flow = np.round(flow * 64) / 64
    flow[~valid] = np.nan
    path = tmp_path_factory.mktemp("flow") / f"a{kind}"
    flow_files.write(path, flow, valid)
    found, known = flow_files.read(path)
    np.testing.assert_array_equal(known, valid)
    np.testing.assert_array_equal(found, np.where(valid[..., None], flow, 0))


@pytest.mark.parametrize(
    ("flow", "valid", "name", "message"),
    [
        (np.zeros((4, 4, 3)), None, "a.flo", r"\[H,W,2\], got \[4, 4, 3\]"),
        (np.zeros((0, 4, 2)), None, "a.flo", r"\[H,W,2\], got \[0, 4, 2\]"),
        (np.zeros((4, 4, 2)), np.ones(4), "a.flo", r"valid is \[4\]"),
        (np.full((4, 4, 2), np.nan), None, "a.flo", "is not finite"),
        (np.full((4, 4, 2), 2e9), None, "a.flo", "above 1e9"),
        (np.full((4, 4, 2), 513.0), None, "a.png", "513 pixels.*write .flo"),
        (np.zeros((4, 4, 2)), None, "a.npy", r"\.flo and \.png"),
    ],
)
def test_what_cannot_be_written(tmp_path, flow, valid, name, message):
    with pytest.raises(UserError, match=message) as raised:
        flow_files.write(tmp_path / name, flow, valid)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / name).exists()


def test_damaged_files(tmp_path, field):
    def complaint(name, data):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name) as raised:
            flow_files.read(tmp_path / name)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    for kind in (".flo", ".png"):
        flow_files.write(tmp_path / f"good{kind}", field[0])
    flo, png = ((tmp_path / f"good{kind}").read_bytes() for kind in (".flo", ".png"))
    assert "292 bytes, it has 291" in complaint("a.flo", flo[:-1])
    assert "it has 293" in complaint("a.flo", flo + b"\0")
    assert "PIEH" in complaint("a.flo", b"HIEP" + flo[4:])
    assert "PIEH" in complaint("a.flo", b"")
    assert "-5 x 7 pixels" in complaint("a.flo", flo[:4] + struct.pack("<ii", -5, 7) + flo[12:])
    assert "end of the file" in complaint("a.png", png[:-20])
    assert "no PNG" in complaint("a.png", flo)
    assert "cannot be decoded" in complaint("a.png", png[:20] + b"\0" * 30 + png[-8:])
    eight = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    assert "16-bit RGB, this is uint8" in complaint("a.png", eight)
    with pytest.raises(UserError, match="No such file"):
        flow_files.read(tmp_path / "absent.flo")
