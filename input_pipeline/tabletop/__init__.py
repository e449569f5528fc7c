"""The built-in data set `tabletop`: three little robots over procedural tables, with exact flow."""

from pathlib import Path

from input_pipeline.errors import DataError
from input_pipeline.tabletop.render import flow, frames, visible
from input_pipeline.tabletop.world import (
    DOMAINS,
    EPISODES_MAX,
    episode_from_metadata,
    episode_from_seed,
)

__all__ = [
    "DOMAINS",
    "episode_from_metadata",
    "episode_from_seed",
    "flow",
    "frames",
    "visible",
    "write",
]

FORMATS = ("array_record", "tfrecord")
_LIMITS = {
    "scenes": (1, 9999),
    "episodes_per_scene": (1, EPISODES_MAX),
    "steps": (2, 1000),
    "image_size": (16, 1024),
    "seed": (0, 2**40),
    "camera_jitter": (0.0, 8.0),
}


def _check(file_format, arguments):
    if file_format not in FORMATS:
        raise DataError(f"file_format is {file_format!r}; allowed are {', '.join(FORMATS)}")
    for name, (low, high) in _LIMITS.items():
        value = arguments[name]
        kind = type(low)
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            raise DataError(f"{name} is {value!r}; allowed is a number from {low} to {high}")
        if not low <= value <= high:
            raise DataError(f"{name} is {value}; allowed are {low} to {high}")


def write(
    data_dir,
    *,
    scenes=800,
    episodes_per_scene=1,
    steps=16,
    image_size=64,
    seed=0,
    camera_jitter=0.0,
    file_format="array_record",
    progress=True,
):
    """Generates the set as a TFDS folder in RLDS form, unless the same one is there already.

    data_dir: folder, made if absent. scenes: for each of the three domains. image_size: pixels.
    camera_jitter: standard deviation of the camera's shake from step to step, pixels at 64 x 64.
    file_format: "array_record" or "tfrecord". progress: lines with a percentage on stderr.
    Returns the path (str) of the version folder, for tfds.builder_from_directory. The folder
    appears whole or not at all. Raises DataError where an argument is out of range.
    """
    arguments = {
        "scenes": scenes,
        "episodes_per_scene": episodes_per_scene,
        "steps": steps,
        "image_size": image_size,
        "seed": seed,
        "camera_jitter": camera_jitter,
    }
    _check(file_format, arguments)
    name = (
        f"scenes{scenes}x{episodes_per_scene}_steps{steps}_size{image_size}_seed{seed}"
        f"_jitter{float(camera_jitter):g}_{file_format}"
    )
    folder = Path(data_dir).expanduser().absolute() / "tabletop" / name / "1.0.0"
    if (folder / "dataset_info.json").exists():
        return str(folder)
    from input_pipeline.tabletop import builder  # TFDS, not needed to reuse a finished folder

    return builder.prepare(folder, file_format, progress, arguments)
