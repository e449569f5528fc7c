"""What SOURCE is, a video, a folder of them or of pictures, or a data set; and its pairs."""

import dataclasses
from pathlib import Path

import numpy as np

from input_pipeline import clips, options, ordered, oxe, rlds, sources
from input_pipeline.errors import DataError
from lam.errors import UserError
from lam.flow import pairs

SIZE = 256  # pixels of a side, of the frames of data sets


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which pairs, as the options of the program. Gap 0 is by gap_seconds; None there is one frame
    of a video and 0.6 s of a data set. size (None: SIZE) and root are of data sets only."""

    gap: int = 0
    gap_seconds: float | None = None
    hz: str = ""
    size: int | None = None
    limit: int = 0
    on_corrupt: str = "error"
    root: str = options.DEFAULTS["root"]


def find(source, wanted, at_once):
    """The `pairs.Pairs` of SOURCE, in batches of at_once(H, W) pairs.

    Raises:
      UserError, DataError: SOURCE is nothing that is known, or has no pairs; one line.
    """
    given = {k: v for k, v in vars(wanted).items() if k in options.DEFAULTS and v is not None}
    data = options.DEFAULTS | given | {"image_size": wanted.size or SIZE}
    options.check(data, "train")
    found = _clips(source)
    if found is None:
        return _of_sets(source, data, wanted.limit, at_once)
    if wanted.size:
        raise UserError(f"--size={wanted.size} is for data sets; videos and pictures keep theirs")
    data["gap"] = data["gap"] or int(wanted.gap_seconds is None)
    return pairs.of_clips(pairs.readable(*found, data), wanted.limit, at_once)


def _clips(source):
    """(root, episodes) of `clips.find`; None for a data set; UserError where SOURCE is neither."""
    path = Path(source).expanduser()
    if source in sources.BUILTIN:
        return None
    if not source or not path.exists():
        for place, _, _ in sources.parse(source):
            there = rlds.is_remote(place) or Path(place).expanduser().exists()
            if not (there or place in sources.BUILTIN or oxe.get(place)):
                raise UserError(
                    f"{place}: no such video or folder, and no data set of this name, such as "
                    f"{', '.join(sources.BUILTIN)} or those of python -m input_pipeline.oxe --list"
                )
        return None
    if any((path / name).exists() for name in (*rlds.LOOKED_FOR, rlds.FRAMES)):
        return None
    try:
        return clips.find(path)
    except DataError:
        if path.is_file():
            raise
    try:
        rlds.open_set(path)
    except DataError as error:
        _, hint, place = str(error).partition("; did you mean")
        why = "neither videos nor pictures in it, and it is no data set"
        raise UserError(f"{path}: {why}{hint}{place}") from None


def _of_sets(source, data, limit, at_once):
    """Pairs of data sets; no splits are made of them."""
    whole = {"split_by": "episode", "val_fraction": 0.0, "test_fraction": 0.0}
    size = data["image_size"]
    found = ordered.pairs(data | whole | {"sources": source}, at_once(size, size), limit=limit)
    gaps = np.array(found.gaps, np.int32)

    def batches():
        for batch in found:
            parts = [key.rpartition("@") for key in batch["key"]]
            yield pairs.Batch(
                batch["frames"],
                [episode for episode, _, _ in parts],
                np.array([int(step) for _, _, step in parts], np.int32),
                gaps[batch["dataset_id"]],
                batch["dt"],
            )

    return pairs.Pairs(len(found), batches())
