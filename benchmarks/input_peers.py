"""What our loader is measured against: the naive Python generator, and Octo's pipeline as it is.

Both are endless iterators over batches of pairs, B batch, H W pixels; they run under one process
and the TensorFlow that is installed. Octo and dlimp are read from clones that the person names.
"""

import importlib.util
import os
import random
import sys
import types
from pathlib import Path

import numpy as np

NAIVE_BUFFER = 64  # pairs of the naive generator's shuffle buffer, decoded
OCTO_BUFFER = 1000  # frames of Octo's, encoded


def tensorflow():
    """TensorFlow, quiet and on the CPU only."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf

    return tf


def naive(folder, batch_size, image_size, gap, pairs_per_episode="1"):
    """Batches by a Python generator over decoded steps; frames float32 [B,2,H,W,3] in 0..1.

    The usual first version: TFDS decodes every frame, the steps become a list, all frames are
    resized, and the pairs that are wanted ("1" at random, or "all") go through a shuffle buffer.
    Besides frames a batch has action, state and text, as ours has.
    """
    tf = tensorflow()
    import tensorflow_datasets as tfds

    # on one core it would wait for itself: the generator and the data set in it need a thread each
    tf.config.threading.set_inter_op_parallelism_threads(4)
    episodes = tfds.builder_from_directory(str(folder)).as_dataset(split="train")
    draw = random.Random(0)

    def pairs():
        while True:
            for episode in episodes:
                steps = list(episode["steps"])
                frames = tf.stack([step["observation"]["image"] for step in steps])
                if frames.shape[1:3] != (image_size, image_size):
                    frames = tf.cast(tf.image.resize(frames, [image_size] * 2), tf.uint8)
                frames_THWC = frames.numpy()
                action_TA = np.stack([step["action"].numpy() for step in steps])
                state_TS = np.stack([step["observation"]["state"].numpy() for step in steps])
                text = steps[0]["language_instruction"].numpy()
                starts = range(len(steps) - gap)
                for t in [draw.choice(starts)] if pairs_per_episode == "1" else starts:
                    yield {
                        "frames": np.stack([frames_THWC[t], frames_THWC[t + gap]]),
                        "action": action_TA[t : t + gap].sum(axis=0),
                        "state": state_TS[t],
                        "text": text,
                    }

    step = episodes.element_spec["steps"].element_spec
    spec = {
        "frames": tf.TensorSpec((2, image_size, image_size, 3), tf.uint8),
        "action": step["action"],
        "state": step["observation"]["state"],
        "text": tf.TensorSpec((), tf.string),
    }
    stored = tf.data.Dataset.from_generator(pairs, output_signature=spec)
    stored = stored.shuffle(NAIVE_BUFFER, seed=0).prefetch(tf.data.AUTOTUNE)
    waiting = []
    for pair in stored:
        pair = {key: value.numpy() for key, value in pair.items()}
        waiting.append(pair | {"frames": pair["frames"].astype(np.float32) / 255.0})
        if len(waiting) == batch_size:
            yield {key: np.stack([one[key] for one in waiting]) for key in spec}
            waiting = []


def octo(folder, batch_size, image_size, octo_path, dlimp_path):
    """Batches uint8 [B,2,H,W,3] by Octo's make_interleaved_dataset with a window of two frames.

    Its first run computes statistics of the set and writes them into the set's folder.
    """
    tensorflow()
    sys.path[:0] = [str(Path(dlimp_path).resolve()), str(Path(octo_path).resolve())]
    if importlib.util.find_spec("huggingface_hub") is None:
        # Octo imports it for paraphrases of instructions, which are not asked for here
        unused = types.ModuleType("huggingface_hub")
        unused.hf_hub_download = None
        sys.modules["huggingface_hub"] = unused
    from octo.data.dataset import make_interleaved_dataset

    folder = Path(folder)
    one = {
        "name": folder.parent.name,
        "data_dir": str(folder.parent.parent),
        "image_obs_keys": {"primary": "image"},
        "proprio_obs_key": "state",
        "language_key": "language_instruction",
    }
    stored = make_interleaved_dataset(
        [one],
        train=True,
        shuffle_buffer_size=OCTO_BUFFER,
        traj_transform_kwargs={"window_size": 2},
        frame_transform_kwargs={"resize_size": {"primary": (image_size, image_size)}},
        batch_size=batch_size,
    )
    for batch in stored.iterator():
        yield batch["observation"]["image_primary"]
