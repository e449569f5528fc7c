"""Writes the tabletop set as a TFDS data set in RLDS form: a record an episode, one split `train`.

T steps. Pictures are stored as JPEG. Nothing here needs TensorFlow by itself; TFDS brings it in
where the file format asks for it (TFRecord).
"""

import contextlib
import io
import logging
import os
import sys
import time
from dataclasses import dataclass

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from input_pipeline.errors import DataError
from input_pipeline.tabletop import render, world

_QUALITY = 92
_PERIOD = 2.0  # seconds between two lines of progress


@dataclass(eq=False)
class TabletopConfig(tfds.core.BuilderConfig):
    """The arguments of tabletop.write; the name spells them all out."""

    scenes: int = 0
    episodes_per_scene: int = 0
    steps: int = 0
    image_size: int = 0
    seed: int = 0
    camera_jitter: float = 0.0
    progress: bool = False


class Tabletop(tfds.core.GeneratorBasedBuilder):
    """Three little robots over procedural tables, in RLDS form."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None  # nothing is downloaded; spares TFDS the search for this module's folder

    def _info(self):
        size = self.builder_config.image_size
        step = {
            "observation": {
                "image": tfds.features.Image(shape=(size, size, 3), encoding_format="jpeg"),
                "state": tfds.features.Tensor(
                    shape=(3,),
                    dtype=np.float32,
                    doc="hand x (right), y (away) in table units, opening 0..1",
                ),
            },
            "action": tfds.features.Tensor(
                shape=(3,),
                dtype=np.float32,
                doc="commanded dx, dy in table units, gripper bit (1 = open)",
            ),
            "language_instruction": tfds.features.Text(),
            "reward": np.float32,
            "discount": np.float32,
            "is_first": np.bool_,
            "is_last": np.bool_,
            "is_terminal": np.bool_,
        }
        metadata = {
            "domain": tfds.features.Text(),
            "scene": tfds.features.Text(),
            "seed": np.int64,
            "steps": np.int64,
            "camera_jitter": np.float32,
            "control_hz": np.float32,
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {"steps": tfds.features.Dataset(step), "episode_metadata": metadata}
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        config = self.builder_config
        total = len(world.DOMAINS) * config.scenes * config.episodes_per_scene
        done, told = 0, time.monotonic() if config.progress else float("inf")
        for number in range(config.scenes):
            for domain in world.DOMAINS:
                for episode in range(config.episodes_per_scene):
                    seed = config.seed * world.EPISODES_MAX + episode
                    scene = f"{domain}/{number:04d}"
                    yield f"{scene}/{episode}", _record(domain, scene, seed, config)
                    done += 1
                    if time.monotonic() - told > _PERIOD:
                        told = time.monotonic()
                        print(
                            f"tabletop: {100 * done // total}% ({done}/{total} episodes)",
                            file=sys.stderr,
                        )


def _jpeg(image_HWC):
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _record(domain, scene, seed, config):
    """One episode as TFDS wants it: {"steps": [...], "episode_metadata": {...}}."""
    jitter = config.camera_jitter
    episode = world.episode_from_seed(domain, scene, seed, steps=config.steps, camera_jitter=jitter)
    frames_THWC = render.frames(episode, config.image_size)
    last = config.steps - 1
    steps = [
        {
            "observation": {"image": _jpeg(frames_THWC[t]), "state": episode.state_T3[t]},
            "action": episode.action_T3[t],
            "language_instruction": episode.instruction,
            "reward": np.float32(t == last),
            "discount": np.float32(1),
            "is_first": t == 0,
            "is_last": t == last,
            "is_terminal": t == last,
        }
        for t in range(config.steps)
    ]
    metadata = {
        "domain": domain,
        "scene": scene,
        "seed": seed,
        "steps": config.steps,
        "camera_jitter": jitter,
        "control_hz": world.CONTROL_HZ,
    }
    return {"steps": steps, "episode_metadata": metadata}


@contextlib.contextmanager
def _quiet():
    """Silences TFDS's talk on stdout and in the log; progress goes to stderr."""
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.disabled = before


def prepare(folder, file_format, progress, arguments):
    """Writes the set to folder (DATA_DIR/tabletop/NAME/VERSION); returns its path.

    TFDS writes beside the folder and renames at the end, so an interrupted run leaves no folder.
    """
    config = TabletopConfig(
        name=folder.parent.name, description="No download.", progress=progress, **arguments
    )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TFDS loads TensorFlow for TFRecord
    tfds.disable_progress_bar()
    try:
        with _quiet():
            builder = Tabletop(data_dir=folder.parents[2], config=config, file_format=file_format)
            builder.download_and_prepare()
    except OSError as error:
        if not (folder / "dataset_info.json").exists():  # else another process was faster
            raise DataError(f"cannot write {folder}: {error}") from error
    return str(folder)
