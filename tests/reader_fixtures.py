"""Small sources for the tests of the readers: files of every storage, and their tables, by hand."""

import io
import types

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from pipeline_fixtures import serialize, write_file

from input_pipeline import rlds, table

IMAGE = "steps/observation/image"


def encoded(picture, kind="jpeg", **options):
    """An array uint8 [H,W,3] or a Pillow image as the bytes of a file."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def waves(height, width, phase=0.0):
    """A picture of slow waves with some detail: uint8 [H,W,3]."""
    y, x = np.mgrid[:height, :width]
    slow = [np.sin(x / width * 6 + c + phase) + np.cos(y / height * 5 - c) for c in range(3)]
    fine = np.sin(x * 0.9 + y * 0.7 + phase)[..., None]
    return (np.stack(slow, -1) * 50 + fine * 20 + 128).clip(0, 255).astype(np.uint8)


def source(folder, episodes, storage="tfrecord", name="made", shape=(24, 32, 3), swap=False):
    """A source of `episodes`, lists of encoded pictures, as two files of one kind of storage."""
    folder.mkdir(parents=True, exist_ok=True)
    builder, files = table.Builder(0, 0), []
    for file, part in enumerate(np.array_split(np.arange(len(episodes)), 2)):
        files.append(folder / f"{name}-{file}.{storage}")
        records = [serialize({IMAGE: episodes[e], "steps/other": [0.5]}) for e in part]
        _write(files[-1], records, [episodes[e] for e in part], storage)
        record = offset = 0
        for e, payload in zip(part, records, strict=True):
            frames = storage == "frames"
            places = [payload.index(picture) for picture in episodes[e]]
            builder.add(
                file=file, record=record, offset=offset + 12 if storage == "tfrecord" else 0,
                length=len(payload), rate=5.0, key=f"episode{e}", scene="",
                action=np.zeros((len(places), 0)), state=np.zeros((len(places), 0)),
                texts=[""] * len(places), frame_offset=[0] * len(places) if frames else places,
                frame_length=[len(picture) for picture in episodes[e]],
            )  # fmt: skip
            record += len(places) if frames else 1
            offset += len(payload) + 16
    encoding = {b"\xff\xd8": "jpeg", b"\x89P": "png"}.get(episodes[0][0][:2], "")
    return types.SimpleNamespace(
        name=name,
        keys=types.SimpleNamespace(image=IMAGE, swap=swap),
        table=builder.build(),
        episode_set=types.SimpleNamespace(
            path=str(folder),
            storage=storage,
            files=tuple(map(str, files)),
            fields={IMAGE: rlds.Field("image", shape, "uint8", encoding)},
        ),
    )


def layout(size, frames=2, threads=2):
    """What a reader must know beside the rows."""
    return types.SimpleNamespace(image_size=size, frames=frames, threads=threads)


def _write(file, records, episodes, storage):
    if storage == "tfrecord":
        write_file(file, records, storage)
        return
    writer = ArrayRecordWriter(str(file), "group_size:1")
    pictures = [picture for episode in episodes for picture in episode]
    for record in pictures if storage == "frames" else records:
        writer.write(record)
    writer.close()
