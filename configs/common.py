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
    c.data.sources = "tabletop"  # folders, registered names, "tabletop": PLACE[@SPLIT][:weight],...
    c.data.mixture = ""  # a published mixture, instead of sources: python -m input_pipeline.oxe
    c.data.root = "gs://gresearch/robotics"  # local or remote folder of the registered sets
    c.data.data_dir = ""  # for built-in sets, indices and statistics, "" = ~/.cache/lam
    c.data.backend = "auto"  # "stream" (TFRecord by tf.data), "random" (local files) or by storage
    c.data.image_size = 64  # pixels, square
    c.data.frames = 2  # of a row: 2 = pairs, more = windows
    c.data.gap_seconds = 0.6  # between two frames, made steps by each set's frequency
    c.data.gap = 0  # the same in steps, for all sets, 0 = by gap_seconds
    c.data.gap_jitter = 0.0  # share of the gap by which it varies, evenly, either way
    c.data.hz = ""  # control frequency where a set does not tell; one for all, or "3,,5"
    c.data.pairs_per_episode = "1"  # starts taken of an episode in an epoch, or "all"
    c.data.min_motion = 0.0  # grey levels, 0..255: starts whose frames differ less are left out
    c.data.weighting = ""  # "given" weights, or "proportionate": times size; "" = what is usual
    c.data.temperature = 1.0  # proportionate to size ** (1 / temperature)
    c.data.normalize = ""  # actions and states: "mean_std", "q01_q99" (to -1..1) or "" = as stored
    c.data.buffer_gb = 0.25  # GB of encoded frames that the stream keeps in memory to shuffle
    c.data.split_by = "scene"  # held out as a whole: "scene", "episode" or "blocks" of episodes
    c.data.block_gap = 5  # episodes on either side of a held-out block that nobody reads
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
