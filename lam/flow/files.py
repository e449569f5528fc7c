"""Flow fields as files: Middlebury `.flo` and KITTI `.png`.

A field is float32 [H,W,2], (dx, dy) in pixels, with a mask bool [H,W] of the pixels it is known at;
unknown pixels are zero in memory. The suffix of the path decides the format:

- `.flo`: float32 202021.25, int32 width, int32 height, then (dx, dy) row by row, little endian.
  Exact. Unknown is a component above 1e9.
- `.png`: 16 bits, red dx, green dy, both value * 64 + 2^15, blue 1 where known. Rounds to 1/64
  pixel and ends at +-512 pixels.
"""

import pathlib

import numpy as np

from lam.errors import UserError

MAGIC = np.float32(202021.25)  # the bytes "PIEH"
UNKNOWN = 1e9  # components above it are no flow
LARGEST = 1 << 15  # pixels, of a side; more is taken for a damaged header
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def read(path):
    """(flow [H,W,2], valid [H,W]) of a file; UserError if it is damaged or of another kind."""
    path = pathlib.Path(path)
    kind = _format(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return _read_flo(path, data) if kind == ".flo" else _read_kitti(path, data)


def write(path, flow, valid=None):
    """Writes a field, unknown where `valid` (bool [H,W]) is False; every pixel known if None.

    Raises:
      UserError: not a flow field, not finite where it is known, or beyond what the format holds.
    """
    path = pathlib.Path(path)
    kind = _format(path)
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 3 or flow.shape[2] != 2 or not flow.size:
        raise UserError(f"a flow field is [H,W,2], got {list(flow.shape)} for {path}")
    valid = np.ones(flow.shape[:2], bool) if valid is None else np.asarray(valid, bool)
    if valid.shape != flow.shape[:2]:
        raise UserError(
            f"valid is {list(valid.shape)}, the flow for {path} is {list(flow.shape)}: give [H,W]"
        )
    if not np.isfinite(flow[valid]).all():
        raise UserError(f"the flow for {path} is not finite: say with valid where it is unknown")
    path.write_bytes(_flo(path, flow, valid) if kind == ".flo" else _kitti(path, flow, valid))


def _format(path):
    if path.suffix.lower() not in (".flo", ".png"):
        raise UserError(f"{path} is no flow file by its name: .flo and .png (KITTI) are known")
    return path.suffix.lower()


def _read_flo(path, data):
    if len(data) < 12 or np.frombuffer(data, "<f4", 1)[0] != MAGIC:
        raise UserError(f"{path} is no .flo file: it does not begin with 202021.25 (PIEH)")
    width, height = (int(x) for x in np.frombuffer(data, "<i4", 2, 4))
    if not (0 < width <= LARGEST and 0 < height <= LARGEST):
        raise UserError(f"{path} is damaged: a field of {width} x {height} pixels")
    wanted = 12 + 8 * width * height
    if len(data) != wanted:
        raise UserError(
            f"{path} is damaged: {width} x {height} pixels are {wanted} bytes, it has {len(data)}"
        )
    flow = np.frombuffer(data, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    valid = (np.abs(flow) <= UNKNOWN).all(axis=-1)  # not so for NaN
    return np.where(valid[..., None], flow, np.float32(0)), valid


def _flo(path, flow, valid):
    if (np.abs(flow[valid]) > UNKNOWN).any():
        raise UserError(f"the flow for {path} is above 1e9 pixels, which .flo takes for unknown")
    height, width = valid.shape
    head = MAGIC.astype("<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    return head + np.where(valid[..., None], flow, 1e10).astype("<f4").tobytes()


def _read_kitti(path, data):
    import cv2

    if not data.startswith(PNG_START):
        raise UserError(f"{path} is no PNG file")
    if not data.endswith(PNG_END):
        raise UserError(f"{path} is damaged: the end of the file is missing")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise UserError(f"{path} is damaged: it cannot be decoded")
    if picture.dtype != np.uint16 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UserError(
            f"{path} is no KITTI flow: those are 16-bit RGB, this is {picture.dtype} "
            f"{list(picture.shape)}"
        )
    valid = picture[..., 0] > 0  # OpenCV gives blue first
    flow = (picture[..., :0:-1].astype(np.float32) - 2**15) / 64
    return np.where(valid[..., None], flow, np.float32(0)), valid


def _kitti(path, flow, valid):
    import cv2

    codes = np.round(np.where(valid[..., None], flow, 0).astype(np.float64) * 64) + 2**15
    if codes.min() < 0 or codes.max() > 65535:
        raise UserError(
            f"the flow for {path} reaches {np.abs(flow[valid]).max():.0f} pixels, a KITTI PNG "
            "holds -512 to 511.98: write .flo"
        )
    picture = np.concatenate([valid[..., None], codes[..., ::-1] * valid[..., None]], axis=-1)
    done, data = cv2.imencode(".png", picture.astype(np.uint16))
    assert done, f"OpenCV did not encode {path}"
    return data.tobytes()
