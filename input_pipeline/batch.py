"""The truth about every key of a batch.

B batch, T frames (2 for pairs, more for windows), H W pixels, A action dims, S state dims.

| key         | dtype   | shape       | meaning                                                 |
|-------------|---------|-------------|---------------------------------------------------------|
| frames      | uint8   | [B,T,H,W,3] | RGB, 0..255, oldest first; uint8 up to the device       |
| dataset_id  | int32   | [B]         | index into the list of sources                          |
| scene_id    | int32   | [B]         | id of the split group (scene), unique over all sources  |
| dt          | float32 | [B]         | seconds between two frames, NaN where unknown           |
| action      | float32 | [B,A]       | SUM of the commanded actions, first frame to last       |
| action_mask | bool    | [B,A]       | True where the source has that dimension                |
| state       | float32 | [B,T,S]     | proprioception at each frame                            |
| state_mask  | bool    | [B,S]       | True where the source has that dimension                |
| domain      | object  | [B]         | "dataset" or "dataset/robot", host only                 |
| key         | object  | [B]         | "dataset/episode@start", host only                      |
| text        | object  | [B]         | instruction, "" where there is none, host only          |
"""

import numpy as np

HOST_KEYS = ("domain", "key", "text")


def spec(batch, frames, image_size, action_dim, state_dim):
    """Shapes and dtypes of one batch: {key: (shape, dtype)}."""
    size = image_size
    return {
        "frames": ((batch, frames, size, size, 3), np.uint8),
        "dataset_id": ((batch,), np.int32),
        "scene_id": ((batch,), np.int32),
        "dt": ((batch,), np.float32),
        "action": ((batch, action_dim), np.float32),
        "action_mask": ((batch, action_dim), np.bool_),
        "state": ((batch, frames, state_dim), np.float32),
        "state_mask": ((batch, state_dim), np.bool_),
        "domain": ((batch,), np.object_),
        "key": ((batch,), np.object_),
        "text": ((batch,), np.object_),
    }


def device_part(batch):
    """The keys that travel to the device."""
    return {key: value for key, value in batch.items() if key not in HOST_KEYS}
