"""Latent action quantizer.

python -m lam.main --config=configs/laq.py:tiny --workdir=runs/laq

Variants: `debug` (seconds, for tests), `tiny` (CPU, minutes), `small` (one GPU, an hour),
`lapa` (the published architecture and size), `large` (the same with 1.0 billion parameters).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(variant="tiny"):
    """The config of a variant: debug, tiny, small, lapa or large."""
    if variant not in VARIANTS:
        raise ValueError(f"no variant '{variant}' of configs/laq.py: use {', '.join(VARIANTS)}")
    c = common.get_config()
    c.task = "laq"
    c.data.gap_seconds = 0.8  # 4 steps of the built-in set
    c.model = model()
    c.flow, c.features, c.latent = flow(), features(), latent()
    c.action, c.augment = action(), augment()
    c.evals = evaluators()
    VARIANTS[variant](c)
    return c


def model():
    m = ConfigDict()
    m.encoder = "joint"  # or "lapa", or "features", which sees by the tower of config.features
    m.quirks = False  # of "lapa", as published weights need it: lam/models/lapa.py
    m.start = ""  # weights to begin with, a file as lam.convert laq writes it; "" = random ones
    m.num_tokens = 4  # L, tokens of one latent action
    m.quantizer = "nsvq"  # or nsvq_lapa, vq, vq_ema, cosine, fsq, vae: lam/models/quantizers.py
    m.num_codes = 8  # K, codes of one token
    m.code_width = 2  # small, so that 8 codes cover it and quantisation noise stays small
    m.width = 96
    m.encoder_depth = 1  # blocks
    m.decoder_depth = 3
    m.heads = 3
    m.patch = 8  # pixels
    m.motions = 4  # displacements that the codes say
    m.remat = False  # blocks are computed again for the gradient: less memory, a third more compute
    m.scan_layers = False  # one program for all blocks: compiles far faster where they are many
    m.shared_codebook = False  # one codebook for all positions
    m.dtype = "auto"  # of the compute: float32 on CPU, bfloat16 on accelerators
    m.commitment = 0.25  # of encoder outputs to their codes, in the loss of vq, vq_ema and cosine
    m.beta = 1e-4  # of vae: weight of its divergence from the standard normal
    m.levels = ()  # of fsq, such as (8, 5, 5, 5); () = those that suit num_codes
    m.pixel_weight = 1.0  # of the error of frame 2 in pixels
    m.detach_pixels = False  # frame 2 is drawn to be looked at and teaches the codes nothing
    m.guided_weight = 1.0  # of the loss with the parts that the encoder sees
    m.noise_warmup = 500  # steps over which the quantisation noise grows to its full length
    m.follow_rate = 0.05  # share of the way that codes of nsvq and vq_ema go to the mean of their z
    m.reseed_every = 50  # steps between looks for dead codes, 0 = never
    m.reseed_until = 2000  # last step at which codes are moved
    m.reseed_threshold = 0.1  # share of its fair use below which a code is dead
    return m


def flow():
    """An optical flow target: a decoder learns from frame 1 and the codes what a teacher sees."""
    f = ConfigDict()
    f.teacher = ""  # "shipped", "raft_small", "raft_large" or a file of weights; "" = no target
    f.weight = 10.0  # of the squared error of the flow, as a share of the frame
    f.summary_weight = 0.0  # of that of its mean, weighted by the teacher's lengths
    f.warmup = 0  # steps over which both weights grow from zero
    f.updates = 12  # of the teacher's flow
    f.chunk = 0  # pairs that the teacher sees at once, 0 = all
    f.depth = 2  # blocks of the decoder
    return f


def features():
    """A feature target: a decoder learns what a frozen tower (DINOv2, DINOv3, SigLIP) sees."""
    f = ConfigDict()
    f.tower = ""  # file of weights, by python -m lam.convert vit; "" = no target
    f.weight = 1.0  # of the squared error of the features of frame 2; 0 = no decoder of them
    f.perceptual = 0.0  # of the distance of the drawn frame 2 from the true one, in features
    f.warmup = 0  # steps over which both weights grow from zero
    f.size = 224  # pixels of a side that the tower sees, a multiple of its patch (14 or 16)
    f.depth = 2  # blocks of the decoder
    return f


def latent():
    """A learned target: what the running average of a frame encoder sees in frame 2."""
    t = ConfigDict()
    t.weight = 0.0  # of the squared error of its features; 0 = no target
    t.decay = 0.99  # share of the average that a step keeps
    t.warmup = 0  # steps over which the weight grows from zero
    t.depth = 1  # blocks of the encoder, and of the decoder
    return t


def action():
    """True actions of a few scenes, read from the codes by a linear head."""
    a = ConfigDict()
    a.weight = 0.0  # of the squared error of the action, in its own unit; 0 = no labels
    a.share = 0.05  # of the scenes whose actions are told
    a.dims = (0, 1)  # of the action
    return a


def augment():
    """Changes of both frames of a training pair alike."""
    a = ConfigDict()
    a.crop = 1.0  # side of the smallest window as a share of the frame, 1 = no crop
    a.colour = 0.0  # by how much brightness, contrast and saturation change, 0 = not at all
    a.apart = False  # the encoder sees each frame in colours of its own
    return a


def evaluators():
    """`split` is the scenes looked at: "val" while choosing, "test" for the last word."""
    e = ConfigDict()
    for name in ("reconstruction", "codes", "motion", "pictures", "scatter", "examples"):
        e[name] = ConfigDict({"type": name, "split": "val"})
    e.reconstruction.batches = e.codes.batches = 16
    e.motion.dims = (0, 1)  # dims of the action that are motion
    e.scatter.of, e.scatter.dims = "action", (0, 1)  # of the action, dims of the plane
    e.scatter_state = ConfigDict({"type": "scatter", "split": "val", "of": "state", "dims": (0, 1)})
    # left out until their type is "scatter" and "transfer": they run the flow teacher
    e.scatter_flow = ConfigDict({"type": "", "split": "val", "of": "flow", "batches": 8})
    e.transfer = ConfigDict({"type": "", "split": "val", "pairs": 16})  # pairs of a domain
    e.flow = ConfigDict({"type": "", "split": "val"})  # "endpoint" where there is a flow target
    for entry in e.values():
        entry.bucket = ()  # names of data sets or domains to look at alone, () = all
    return e


def debug(c):
    c.total_steps = 6
    c.batch_size = 8
    c.log_every = c.checkpoint_every = 1
    c.eval_every = 0
    c.data.image_size = 16
    c.optim.warmup_steps = 2
    c.model.update(width=16, encoder_depth=1, decoder_depth=1, heads=2, noise_warmup=0)


def tiny(c):
    c.total_steps = 2000
    c.eval_every = 0
    c.optim.lr = 2e-3


def small(c):
    c.total_steps = 50_000
    c.batch_size = 256
    c.data.image_size = 128
    c.eval_every = c.checkpoint_every = 5000
    c.optim.lr = 5e-4
    c.optim.warmup_steps = 1000
    c.model.update(width=512, encoder_depth=6, decoder_depth=8, heads=8)
    c.model.update(noise_warmup=2000, reseed_until=40_000)


def lapa(c):
    c.total_steps = 100_005
    c.batch_size = 64
    c.data.image_size = 256
    c.eval_every = c.checkpoint_every = 5000
    c.optim.update(name="adam", schedule="constant", lr=1e-4, warmup_steps=0, clip_norm=0.5)
    c.model.update(encoder="lapa", width=1024, encoder_depth=8, decoder_depth=8, heads=16)
    c.model.update(patch=32, code_width=32, shared_codebook=True, noise_warmup=0, follow_rate=0.0)
    c.model.update(reseed_every=100, reseed_until=5000)


def large(c):
    lapa(c)
    c.model.update(width=1536, encoder_depth=11, decoder_depth=11, heads=24)
    c.model.update(remat=True, scan_layers=True)


VARIANTS = {"debug": debug, "tiny": tiny, "small": small, "lapa": lapa, "large": large}
