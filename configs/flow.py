"""The flow teacher: RAFT on procedural pairs.

python -m lam.main --config=configs/flow.py --workdir=runs/flow

Variants: `debug` (seconds, for tests), `cpu` (RAFT small, an hour or two on two cores), `small`
(the default: RAFT small, half an hour of one large GPU), `large` (RAFT large).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant="small"):
    """The config of a variant: debug, cpu, small or large."""
    if variant not in VARIANTS:
        raise ValueError(f"no variant '{variant}' of configs/flow.py: use {', '.join(VARIANTS)}")
    c = common.get_config()
    c.task = "flow"
    c.data.sources = "procedural"  # pairs are made on the device
    c.best_metric = "endpoint/epe"
    c.model = model()
    c.evals.endpoint = ConfigDict({"type": "endpoint", "split": "val", "batches": 16})
    c.eval_every = c.checkpoint_every = 2000
    c.optim.b2 = 0.999
    c.optim.weight_decay = 1e-4
    VARIANTS[variant](c)
    return c


def model():
    m = ConfigDict()
    m.size = "small"  # or "large"
    m.frame = 128  # pixels of a side of the pairs
    m.max_motion = 20.0  # pixels; 0 = 30 in 256, in proportion to the frame
    m.updates = 12  # of the flow, in training and in use
    m.gamma = 0.8  # weight of an update's error relative to the update after it
    m.start = ""  # weights to begin with: "shipped", a file (see lam.flow.load); "" = random ones
    m.remat = False  # compute updates again in the backward pass: less memory, a third slower
    m.dtype = "auto"  # of encoders and updates: float32 on CPU, bfloat16 on accelerators
    return m


def one_cycle(c, steps, lr, batch_size):
    """A linear rise over a twentieth of the steps, then a linear fall to nothing."""
    c.total_steps, c.batch_size = steps, batch_size
    c.optim.update(schedule="wsd", lr=lr, warmup_steps=max(1, steps // 20), decay_fraction=0.95)


def debug(c):
    one_cycle(c, steps=4, lr=4e-4, batch_size=1)
    c.log_every = c.checkpoint_every = 1
    c.eval_every = 0
    c.evals.endpoint.batches = 1
    c.model.updates = 2


def cpu(c):
    one_cycle(c, steps=12_000, lr=5e-4, batch_size=4)
    c.eval_every = c.checkpoint_every = 1000


def small(c):
    one_cycle(c, steps=40_000, lr=5e-4, batch_size=48)
    c.model.update(frame=192, max_motion=0.0)


def large(c):
    one_cycle(c, steps=40_000, lr=4e-4, batch_size=32)
    c.model.update(size="large", frame=192, max_motion=0.0)


VARIANTS = {"debug": debug, "cpu": cpu, "small": small, "large": large}
