"""The options of the input pipeline: what may be given, and that it makes sense."""

import numpy as np

from input_pipeline import splits
from input_pipeline.errors import DataError

DEFAULTS = {
    "sources": "tabletop",
    "mixture": "",
    "root": "gs://gresearch/robotics",
    "data_dir": "",
    "backend": "auto",
    "image_size": 64,
    "frames": 2,
    "gap": 0,
    "gap_seconds": 0.6,
    "gap_jitter": 0.0,
    "hz": "",
    "pairs_per_episode": "1",
    "min_motion": 0.0,
    "weighting": "",
    "temperature": 1.0,
    "normalize": "",
    "buffer_gb": 0.25,
    "split_by": "scene",
    "block_gap": 5,
    "val_fraction": 0.1,
    "test_fraction": 0.1,
    "max_episodes": 0,
    "on_corrupt": "error",
    "threads": 0,
}
CHOICES = {
    "backend": ("auto", "stream", "random"),
    "weighting": ("", "given", "proportionate"),
    "normalize": ("", "mean_std", "q01_q99"),
    "split_by": ("scene", "episode", "blocks"),
    "on_corrupt": ("error", "skip"),
}
WHOLE = {"image_size": 1, "frames": 2, "gap": 0, "max_episodes": 0, "threads": 0, "block_gap": 0}
NUMBERS = {  # option: (at least, below)
    "gap_seconds": (1e-6, np.inf),
    "gap_jitter": (0.0, 1.0),
    "min_motion": (0.0, 255.0),
    "temperature": (1e-6, np.inf),
    "buffer_gb": (1e-3, np.inf),
}


def check(data, split):
    """DataError, one line, for an option of `data` that is not allowed."""
    if split not in splits.SPLITS:
        raise DataError(f"split {split!r} does not exist; choose {', '.join(splits.SPLITS)}")
    for option, least in WHOLE.items():
        if not isinstance(data[option], int | np.integer) or data[option] < least:
            raise DataError(
                f"config.data.{option}={data[option]} must be a whole number of at least {least}"
            )
    for option, (least, limit) in NUMBERS.items():
        value = data[option]
        if not isinstance(value, int | float) or not least <= value < limit:
            raise DataError(
                f"config.data.{option}={value} must be at least {least:g} and below {limit:g}"
            )
    for option, allowed in CHOICES.items():
        if data[option] not in allowed:
            choice = ", ".join(one or '""' for one in allowed)
            raise DataError(f"config.data.{option}={data[option]} must be one of: {choice}")
    starts(data)
    splits.check(data["val_fraction"], data["test_fraction"])


def starts(data):
    """How many starts of an episode an epoch takes, at most; more than any has for "all"."""
    text = str(data["pairs_per_episode"])
    if text == "all":
        return np.iinfo(np.int64).max
    if not text.isdigit() or not int(text):
        raise DataError(
            f"config.data.pairs_per_episode={text} must be all, or a whole number of at least 1"
        )
    return int(text)


def gap(data, rate, name):
    """Least and greatest steps between two frames of a source whose median rate is `rate` Hz."""
    if data["gap"]:
        steps = data["gap"]
    elif np.isfinite(rate):
        steps = data["gap_seconds"] * rate
    else:
        raise DataError(
            f"{name}: its control frequency is not known, so config.data.gap_seconds="
            f"{data['gap_seconds']:g} is no number of steps; set config.data.hz (in Hz, one for "
            "all sources or one for each, separated by commas) or config.data.gap (in steps)"
        )
    jitter = data["gap_jitter"]
    least, greatest = (int(np.floor(steps * f + 0.5)) for f in (1 - jitter, 1 + jitter))
    return max(1, least), max(1, greatest)
