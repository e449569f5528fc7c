"""The sides of benchmarks/laq_peer.py: LAPA's own training in torch, and ours; both take the same
uint8 batches {"frames": [B,2,H,W,3], ...}.

A side has `put(batch)`, frames as it takes them; `step(them)`, an optimizer step; `settle()`, which
waits for what was started; `parameters()`, their number; and `predict(name, variables, batch)` as
our evaluators ask it: "reconstruct" and "transfer". The latents that LAPA's side gives and takes
are its tokens, as its code tells no others.
"""

import contextlib
import io

import jax
import lapa_clone
import numpy as np
import torch

from input_pipeline.batch import device_part
from lam import optim, sharding, step, train
from lam import state as state_lib


class Lapa:
    """LAPA's net with the optimizer of its trainer: Adam, clipped by the norm."""

    def __init__(self, clone, config, device):
        task = train.make_task(config)
        torch.manual_seed(config.seed)
        size = config.data.image_size
        self.net, self.device = lapa_clone.sized(clone, task.model, size, device), device
        c, self.steps = config.optim, 0
        self.clip = c.clip_norm
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), lr=c.lr, betas=(c.b1, c.b2), eps=c.eps
        )

    def put(self, batch):
        """Frames as its loader gives them, on the device: float [B,3,2,H,W] in [0,1]."""
        frames = torch.from_numpy(batch["frames"]).to(self.device)
        return frames.permute(0, 4, 1, 2, 3).float().contiguous() / 255

    def step(self, video):
        """One step of its trainer: the codebook is replaced within, by the number of the step."""
        self.net.train()
        with contextlib.redirect_stdout(io.StringIO()):
            loss, _ = self.net(video, step=self.steps)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1

    def parameters(self):
        return sum(x.numel() for x in self.net.parameters())

    def settle(self):
        if self.device != "cpu":
            torch.cuda.synchronize()

    def predict(self, name, variables, batch):
        """Its `inference`, without noise; for "transfer" with the tokens of the batch."""
        del variables
        self.net.eval()
        video = self.put(batch)
        given = {}
        if name == "transfer":
            given["user_action_token_num"] = np.asarray(batch["latents"]).ravel().tolist()
        with torch.inference_mode():
            recon = self.net.inference(video, **given).clamp(0, 1).permute(0, 2, 3, 1)
            tokens = self.net.inference(video, return_only_codebook_ids=True).cpu().numpy()
        return {"recon": recon.cpu().numpy(), "tokens": tokens, "latents": tokens}


class Ours:
    """The training step of `lam.train`, compiled, with its state."""

    def __init__(self, config, batch):
        task, self.mesh = train.make_task(config), sharding.make_mesh(config.mesh)
        optimizer, schedule = optim.make(config.optim, config.total_steps)
        arrays = self.put(batch)
        create, shapes = step.initialiser(config, task, optimizer, self.mesh, arrays)
        self.state = create()
        self.compiled, _ = step.compile_step(
            config, task, optimizer, schedule, self.mesh, shapes, {}, arrays
        )
        self.predictions = {k: jax.jit(f) for k, f in task.predict.items()}

    def put(self, batch):
        return sharding.put_local(device_part(batch), self.mesh)

    def step(self, arrays):
        self.state, _ = self.compiled(self.state, {}, arrays)

    def parameters(self):
        return sum(x.size for x in jax.tree.leaves(self.state.params))

    def settle(self):
        jax.block_until_ready(self.state)

    def predict(self, name, variables, batch):
        del variables
        rows = {key: batch[key] for key in ("frames", "latents") if key in batch}
        found = self.predictions[name](state_lib.variables(self.state, {}), rows)
        return jax.device_get(found)
