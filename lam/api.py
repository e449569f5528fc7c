"""A trained latent action quantizer in three lines; no data library is needed.

N samples, B batch, H W pixels, L tokens of a latent action.
"""

import dataclasses
import pathlib

import flax
import jax
import jax.numpy as jnp
import numpy as np

from lam import checkpoint, registry, workdir
from lam.errors import UserError
from lam.models import laq_weights
from lam.ops.image import to_uint8


class LatentActions:
    """Weights of a run with the functions to use them.

    Attributes:
      task: the lam.tasks.laq.Task.
      variables: {"params", "frozen", "extra"} as the task's predictions take them.
      step: the training step of the weights, None of a file.
      image_size: pixels of a side that the model was trained on.
      num_tokens: L.
      num_codes: codes per token.
    """

    def __init__(self, task, params, step, image_size, batch_size=64):
        self.task, self.step, self.image_size = task, step, image_size
        frozen = jax.tree.map(jnp.asarray, task.needed())
        self.variables = {"params": params, "frozen": frozen, "extra": {}}
        self.num_tokens, self.num_codes = task.num_tokens, task.num_codes
        self.batch_size = batch_size
        self._jitted = {name: jax.jit(fn) for name, fn in task.predict.items()}

    def encode(self, frames_NTHWC):
        """Tokens of frame pairs: uint8 [N,2,H,W,3], RGB -> int32 [N,L]. Any N, also 0."""
        if "tokens" not in self._jitted:
            raise UserError("this model is continuous and has no tokens: use latents(frames)")
        return self._pairs("tokens", frames_NTHWC, (self.num_tokens,), np.int32)

    def latents(self, frames_NTHWC):
        """What says the action before it is quantised: uint8 [N,2,H,W,3] -> float32 [N,L,Z]."""
        shape = (self.num_tokens, self.task.model.code_width)
        return self._pairs("latents", frames_NTHWC, shape, np.float32)

    def decode(self, first_NHWC, tokens_NL):
        """Frame 2 from frame 1 and tokens: uint8 [N,H,W,3], int [N,L] -> uint8 [N,H,W,3]."""
        batch = self._given(first_NHWC, tokens_NL)
        recon = self._predict("transfer", "recon", batch, batch["frames"].shape[2:], np.float32)
        return to_uint8(recon)

    def codes(self, tokens_NL):
        """What the decoder is given for tokens: int [N,L] -> float32 [N,L,Z]."""
        tokens = self._tokens(tokens_NL, len(tokens_NL))
        shape = (self.num_tokens, self.task.model.code_width)
        return self._predict("codes", "codes", {"tokens": tokens}, shape, np.float32)

    def flow(self, first_NHWC, tokens_NL):
        """The flow that the flow decoder reads from tokens: uint8 [N,H,W,3], int [N,L] -> float32
        [N,H,W,2], pixels. UserError where the model has no flow decoder."""
        if "decoded_flow" not in self._jitted:
            raise UserError("this model has no flow decoder: train one with config.flow.teacher")
        batch = self._given(first_NHWC, tokens_NL)
        shape = (*batch["frames"].shape[2:4], 2)
        return self._predict("decoded_flow", "flow", batch, shape, np.float32)

    def save(self, path):
        """Writes a .safetensors file that `lam.load` and config.model.start read; float32.

        The file has no place for what only training needs; `python -m lam.convert laq` takes it on
        to LAPA's names, for a model with quirks.
        """
        if pathlib.Path(path).suffix != ".safetensors":
            raise UserError(f"{path}: a file of weights must end in .safetensors")
        laq_weights.write(path, self.variables["params"], self.task.model, self.image_size)

    def _given(self, first_NHWC, tokens_NL):
        """The batch of first frames and tokens; UserError unless they fit."""
        size = self.image_size
        first = check("first", first_NHWC, np.uint8, ("N", size, size, 3))
        return {"frames": first[:, None], "tokens": self._tokens(tokens_NL, len(first))}

    def _tokens(self, tokens_NL, count):
        tokens = check("tokens", tokens_NL, np.integer, (count, self.num_tokens))
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.num_codes):
            raise UserError(
                f"tokens must lie in 0..{self.num_codes - 1}, got {tokens.min()}..{tokens.max()}"
            )
        return tokens.astype(np.int32)

    def _pairs(self, name, frames_NTHWC, shape, dtype):
        size = self.image_size
        frames = check("frames", frames_NTHWC, np.uint8, ("N", 2, size, size, 3))
        return self._predict(name, name, {"frames": frames}, shape, dtype)

    def _predict(self, name, key, batch, shape, dtype):
        """Runs a prediction in batches of one compiled size, the last one padded."""
        total = len(batch.get("frames", batch.get("tokens")))
        out = np.zeros((total, *shape), dtype)
        for begin in range(0, total, self.batch_size):
            index = np.minimum(np.arange(begin, begin + self.batch_size), total - 1)
            rows = {k: jnp.asarray(v[index]) for k, v in batch.items()}
            part = self._run(name, rows)
            out[begin : begin + self.batch_size] = np.asarray(part[key])[: total - begin]
        return out

    def _run(self, name, rows):
        try:
            return self._jitted[name](self.variables, rows)
        except flax.errors.FlaxError as error:
            raise UserError(
                f"the weights are of another version of the model ({str(error).splitlines()[0]}): "
                "use the code of that run, its run.json says which"
            ) from None


def check(name, array, dtype, shape):
    """The argument as a numpy array; UserError unless it has this dtype and shape."""
    array = np.asarray(array)
    fits = array.ndim == len(shape) and all(
        want in ("N", have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or not np.issubdtype(array.dtype, dtype):
        kind = "int" if dtype is np.integer else np.dtype(dtype).name
        wanted, got = (",".join(map(str, dims)) for dims in (shape, array.shape))
        raise UserError(f"{name} must be {kind} [{wanted}], got {array.dtype} [{got}]")
    return array


def load(folder, step=None):
    """The model of a workdir, from its newest checkpoint or that of a step, or of a file.

    Args:
      folder: a workdir, or a .safetensors file of `python -m lam.convert laq` or of
        `LatentActions.save`, which has no steps.

    Raises:
      UserError: no workdir, no checkpoint, a task without tokens, or a file of something else.
    """
    if pathlib.Path(folder).suffix == ".safetensors" and not pathlib.Path(folder).is_dir():
        return load_file(folder, step)
    config = workdir.read_config(folder)
    if config["task"] != "laq":
        raise UserError(f"{folder} holds a '{config['task']}'; lam.load reads 'laq' workdirs")
    config["model"]["dtype"] = workdir.compute_dtype(config["model"])
    task = registry.load("lam.tasks", config["task"]).make(config)
    step, params = checkpoint.load_params(folder, step)
    return LatentActions(task, params, step, config["data"]["image_size"])


def load_file(path, step=None):
    """The model of a .safetensors file, see `load`."""
    if step is not None:
        raise UserError(f"{path} is a file of weights and has no step {step}: leave the step out")
    model, image_size, params, _ = laq_weights.read(path)
    dtype = jnp.dtype(workdir.compute_dtype({}))
    task = registry.load("lam.tasks", "laq").Task(dataclasses.replace(model, dtype=dtype))
    return LatentActions(task, jax.device_put(params), None, image_size)
