"""An encoded camera image (JPEG or PNG) -> RGB uint8 [size,size,3], quickly and without TensorFlow.

A JPEG shrinks in the decoder as far as it may, with the fast integer transform and plain chroma
upsampling where it ends up smaller; what is left is bilinear with half-pixel centres, or the mean
over areas where a side shrinks by more than 1.5 and none grows. `stream.py` does the same in
TensorFlow, within one level.
"""

import functools
import threading

import numpy as np

from input_pipeline.errors import DataError

JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
PNG_DEPTH = 24  # the byte of a PNG file that tells the bits of a channel
_own = threading.local()


def ratio(shape, encoding, size):
    """1, 2, 4 or 8: by how much the decoder shrinks images of `shape` (H, W, 3) to size x size.

    Only a JPEG shrinks there, to no less than 15/16 of `size`; 1 where H or W is None.
    """
    if encoding != "jpeg" or None in shape[:2]:
        return 1
    return max(r for r in (1, 2, 4, 8) if r == 1 or 16 * min(shape[:2]) >= 15 * r * size)


def fast(shape, size):
    """Whether the quick integer transform and plain chroma are good enough for images of `shape`
    (H, W, 3): where they end up smaller, so that their errors are averaged."""
    return None not in shape[:2] and max(shape[:2]) > size


def into(encoded, frame_HWC, ratio=1, swap=False, fast=False):
    """Decodes and resizes the bytes `encoded` into frame_HWC, a C-contiguous uint8 [size,size,3].

    Grey, palette and transparent images become plain RGB; swap: exchanges red and blue.
    ValueError tells what is wrong with the image. The interpreter is free during the work.
    """
    size = len(frame_HWC)
    if encoded.startswith(JPEG):
        image_HWC = _jpeg(encoded, frame_HWC, ratio, swap, fast)
    elif encoded.startswith(PNG):
        image_HWC = _png(encoded, swap)
    else:
        raise ValueError(f"its {len(encoded)} bytes are neither JPEG nor PNG")
    height, width = image_HWC.shape[:2]
    if (height, width) != (size, size):
        cv2 = _cv2()
        method = cv2.INTER_AREA if averaged(height, width, size) else cv2.INTER_LINEAR
        cv2.resize(image_HWC, (size, size), dst=frame_HWC, interpolation=method)
    elif not np.may_share_memory(image_HWC, frame_HWC):
        frame_HWC[:] = image_HWC


def averaged(height, width, size):
    """Whether an image is resized by averaging areas: no side grows, one shrinks by over 1.5."""
    return min(height, width) >= size and 2 * max(height, width) > 3 * size


def unreadable(source, episode, step, error):
    """The DataError of a frame (step `step` of place `episode` in the source's table) that cannot
    be read or decoded because of `error`."""
    key = source.table.key[episode].decode()
    file = source.episode_set.files[source.table.file[episode]]
    return DataError(
        f"{source.name}/{key}@{step}: the image cannot be read from {file} "
        f"({first_line(error)}); copy the file again or remove the episode"
    )


def first_line(error):
    """What an exception says, at most 200 characters of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _jpeg(encoded, frame_HWC, ratio, swap, fast):
    """The image uint8 [h,w,3], in a buffer of this thread, or in frame_HWC where it fits."""
    import simplejpeg

    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
        height, width = -(-height // ratio), -(-width // ratio)
        fits = frame_HWC.shape[:2] == (height, width)
        return simplejpeg.decode_jpeg(
            encoded,
            colorspace="BGR" if swap else "RGB",
            fastdct=fast,
            fastupsample=fast,
            min_height=height,
            min_width=width,
            min_factor=ratio,
            buffer=frame_HWC.reshape(-1) if fits else _buffer(height * width * 3),
        )
    except ValueError as error:
        raise ValueError(f"its {len(encoded)} bytes of JPEG are damaged: {error}") from error


def _png(encoded, swap):
    if encoded[PNG_DEPTH : PNG_DEPTH + 1] == b"\x10":
        raise ValueError("it is a PNG of 16 bits a channel, and pictures have 8")
    cv2 = _cv2()
    flags = cv2.IMREAD_COLOR_BGR if swap else cv2.IMREAD_COLOR_RGB
    stored = np.frombuffer(encoded, np.uint8)
    image_HWC = cv2.imdecode(stored, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if image_HWC is None:
        raise ValueError(f"its {len(encoded)} bytes of PNG are damaged")
    return image_HWC


def _buffer(size):
    """At least `size` bytes that this thread uses again and again: uint8 [N]."""
    if getattr(_own, "buffer", None) is None or _own.buffer.size < size:
        _own.buffer = np.empty(size, np.uint8)
    return _own.buffer


@functools.cache
def _cv2():
    """OpenCV, kept to the thread that calls it."""
    import cv2

    cv2.setNumThreads(1)
    return cv2
