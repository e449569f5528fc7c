"""From a video, or a folder of pictures, to JPEGs: decoded, shrunk and encoded one by one.

H W pixels, of a frame as it is seen (turned upright where the container says so).
"""

import io
import math
import re
from pathlib import Path

import numpy as np

from input_pipeline.errors import DataError

VIDEOS = frozenset(
    [
        *(".3g2", ".3gp", ".apng", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264"),
        *(".h265", ".hevc", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mk3d"),
        *(".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv"),
        *(".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
    ]
)
PICTURES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"))
ADVICE = "repair or remove it, or set --on_corrupt=skip"
ORIENTATION = 0x112  # EXIF tag; 1 is upright


def jpegs(path, every=1, image_size=0, quality=95):
    """Yields (JPEG as bytes, (H, W)) of every n-th frame of a video, or picture of a folder.

    image_size: pixels of the shorter side, 0 for as it is; nothing is enlarged. A picture that is
    an upright RGB JPEG of the right size already is copied as it is. DataError names the file.
    """
    if not Path(path).is_dir():
        for frame_HWC in frames(path, every):
            yield _encode(frame_HWC, image_size, quality)
        return
    for name in pictures(path)[::every]:
        yield _jpeg_of_picture(Path(path, name), image_size, quality)


def frames(path, every=1):
    """Yields every n-th frame of a video: RGB uint8 [H,W,3].

    DataError if it cannot be decoded to its end or has no frames.
    """
    av = _pyav()
    number = -1
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise unreadable(path, "there is no video in it")
            stream.thread_type = "AUTO"
            for number, frame in enumerate(_decoded(path, container, stream)):
                if number % every == 0:
                    turns = round(frame.rotation / 90)  # counter-clockwise, as np.rot90 does
                    yield np.rot90(frame.to_ndarray(format="rgb24"), turns)
    except (av.FFmpegError, OSError) as error:
        raise unreadable(path, f"after {number + 1} frames: {_first(error)}") from error
    if number < 0:
        raise unreadable(path, "there are no frames in it")


def _decoded(path, container, stream):
    """The frames of a stream. Packets of all streams are looked at, to find where a file is cut."""
    for packet in container.demux():
        if packet.is_corrupt:
            raise unreadable(path, "it is cut off, or damaged")
        if packet.stream.index == stream.index:
            yield from packet.decode()


def rate(path):
    """Average frames a second and length in seconds of a video, by its container; NaN unknown."""
    av = _pyav()
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            average = stream and (stream.average_rate or stream.guessed_rate)
            seconds = (container.duration or math.nan) / av.time_base
    except (av.FFmpegError, OSError) as error:
        raise unreadable(path, _first(error)) from error
    return float(average or math.nan), seconds


def pictures(folder):
    """Names of the pictures that lie directly in a folder, frame_2 before frame_10."""
    names = [path.name for path in Path(folder).iterdir() if path.suffix.lower() in PICTURES]
    return sorted((name for name in names if name[0] != "."), key=natural)


def natural(text):
    """A key for sorting that takes digits as numbers."""
    parts = [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", text)]
    return parts, text


def unreadable(path, why):
    """The DataError for a file that cannot become an episode."""
    return DataError(f"{path}: cannot be read ({why}); {ADVICE}")


def _jpeg_of_picture(path, image_size, quality):
    """(JPEG, (H, W)) of one picture file."""
    from PIL import Image, ImageOps

    try:
        stored = path.read_bytes()
        with Image.open(io.BytesIO(stored)) as image:
            upright = image.getexif().get(ORIENTATION, 1) == 1
            small = not image_size or min(image.size) <= image_size
            if image.format == "JPEG" and image.mode == "RGB" and upright and small:
                image.load()  # damaged data is found here
                return stored, (image.height, image.width)
            frame_HWC = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError: of Pillow's PNG reader
        raise unreadable(path, _first(error)) from error
    return _encode(frame_HWC, image_size, quality)


def _encode(frame_HWC, image_size, quality):
    """(JPEG, (H, W)) of a frame, shrunk by area to `image_size` pixels on its shorter side."""
    import simplejpeg

    height, width = frame_HWC.shape[:2]
    if image_size and min(height, width) > image_size:
        import cv2

        cv2.setNumThreads(1)  # the workers are the threads
        scale = image_size / min(height, width)
        height, width = round(height * scale), round(width * scale)
        frame_HWC = cv2.resize(frame_HWC, (width, height), interpolation=cv2.INTER_AREA)
    frame_HWC = np.ascontiguousarray(frame_HWC)
    return simplejpeg.encode_jpeg(frame_HWC, quality, "RGB", "420"), (height, width)


def _pyav():
    try:
        import av
    except ImportError as error:
        raise DataError("reading videos needs PyAV: pip install '.[video]'") from error
    return av


def _first(error):
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().splitlines()[0][:200]
