"""Fields that every program understands. One comment or unit per field."""

from ml_collections import ConfigDict


def get_config():
    """The base config; `config.model` and `config.evals` are the task's to fill."""
    c = ConfigDict()
    c.task = ""  # module in lam/tasks
    c.seed = 0  # of initialisation, noise and data order
    c.total_steps = 1000  # optimizer steps
    c.stop_at = 0  # save and exit early at this step, 0 = never
    c.batch_size = 32  # global: over all processes and devices
    c.grad_accum = 1  # micro-batches per step
    c.ema = 0.0  # decay of the running average of parameters, 0 = none
    c.log_every = 50  # steps
    c.eval_every = 1000  # steps, 0 = only at the end
    c.checkpoint_every = 500  # steps
    c.best_metric = "reconstruction/mse"  # decides which two checkpoints are kept as best
    c.best_mode = "min"  # "min" or "max"
    c.peak_tflops = 0.0  # TFLOP/s of one device for the MFU, 0 = from the table of known devices

    c.data = ConfigDict()
    c.data.sources = "tabletop"  # TFDS folders or "tabletop", comma-separated, each [:weight]
    c.data.data_dir = ""  # where built-in sets are written, "" = ~/.cache/lam
    c.data.image_size = 64  # pixels, square
    c.data.gap = 4  # steps between the two frames
    c.data.val_fraction = 0.1  # share of scenes held out for validation
    c.data.test_fraction = 0.1  # share of scenes held out for the end
    c.data.max_episodes = 0  # limit of training episodes, applied after the split, 0 = all
    c.data.image_key = ""  # e.g. "observation/image", "" = found by rule; so are the next four
    c.data.action_key = ""
    c.data.state_key = ""
    c.data.language_key = ""
    c.data.scene_key = ""
    c.data.on_corrupt = "error"  # or "skip": count unreadable records and go on
    c.data.threads = 0  # decoding threads, 0 = by the number of cores

    c.optim = ConfigDict()
    c.optim.name = "adamw"  # or "adam"
    c.optim.schedule = "cosine"  # or "constant", "wsd", all with linear warm-up
    c.optim.lr = 1e-3  # peak learning rate
    c.optim.final_fraction = 0.0  # learning rate at the end, as a share of the peak
    c.optim.warmup_steps = 100
    c.optim.decay_fraction = 0.2  # share of the steps that wsd decays over
    c.optim.b1 = 0.9
    c.optim.b2 = 0.99
    c.optim.eps = 1e-8
    c.optim.weight_decay = 0.01  # of matrices only, adamw
    c.optim.clip_norm = 1.0  # global gradient norm, 0 = no clipping

    c.mesh = ConfigDict()
    c.mesh.data = -1  # devices that split the batch, -1 = the rest
    c.mesh.fsdp = 1  # devices that split the batch and the parameters
    c.mesh.tensor = 1  # devices that split wide layers

    c.model = ConfigDict()
    c.evals = ConfigDict()
    return c
