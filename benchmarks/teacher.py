"""How good is the flow teacher? Its errors beside OpenCV's Farneback and DIS; one JSON line a case.

python benchmarks/teacher.py --data=DIR [--weights=FILE] [--cases=warps,tabletop,clips]
    [--picture=docs/flow.png]

DIR holds flow/synthetic_warps_192.npz (pairs with exact flow), rt1_clips/, bridge_clips/ and
image_pairs/. `warps`: mean end-point error over the pixels that stay in the frame, by kind of
motion, after 4, 12 and 20 updates. `tabletop`: mean angle between the motion summary of the exact
flow and that of the estimate, on pairs that are not static, by domain. `clips`: mean absolute
difference of frame 1 and frame 2 taken back by the flow, grey levels of 0..255.

N pairs, H W pixels.
"""

import argparse
import collections
import functools
import itertools
import json
import pathlib
import re
import sys

import cv2
import jax
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from input_pipeline import encode, tabletop
from lam import flow, plots
from lam.ops import motion

UPDATES = (4, 12, 20)
GAPS = (1, 4)  # steps of tabletop; 4 is the gap of configs/laq.py
CLIP_GAPS = (1, 3)  # frames of a clip
SEEDS = (0, 1, 2)


def grey(frames_NHWC):
    return [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames_NHWC]


def farneback(first, second):
    """OpenCV's Farneback with the parameters of its documentation: float32 [N,H,W,2]."""
    pairs = zip(grey(first), grey(second), strict=True)
    options = (None, 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.stack([cv2.calcOpticalFlowFarneback(*pair, *options) for pair in pairs])


def dis(first, second):
    """OpenCV's dense inverse search, preset medium: float32 [N,H,W,2]."""
    found = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs = zip(grey(first), grey(second), strict=True)
    return np.stack([found.calc(*pair, None) for pair in pairs])


def enlarged(estimate, first, second, factor=2):
    """An estimate at twice the size, as the teacher sees small frames; flow in pixels as given."""
    large = [
        np.stack([cv2.resize(x, None, fx=factor, fy=factor) for x in xs]) for xs in (first, second)
    ]
    found = estimate(*large)
    blocks = found.reshape(len(found), first.shape[1], factor, first.shape[2], factor, 2)
    return blocks.mean(axis=(2, 4)) / factor


def zero(first, second):
    del second
    return np.zeros((*first.shape[:3], 2), np.float32)


def warps(data, estimator):
    """End-point errors by kind of motion."""
    pairs = np.load(data / "flow" / "synthetic_warps_192.npz")
    first, second, exact = pairs["frame1"], pairs["frame2"], pairs["flow"].astype(np.float32)
    ours = {f"teacher_{n}": functools.partial(estimator, updates=n) for n in UPDATES}
    methods = {"zero": zero, "farneback": farneback, "dis": dis, **ours}
    found = {name: method(first, second) for name, method in methods.items()}
    error = {k: np.linalg.norm(x - exact, axis=-1) for k, x in found.items()}
    inside = pairs["in_frame"]
    for kind in [*dict.fromkeys(pairs["kind"]), "all"]:
        rows = np.flatnonzero((pairs["kind"] == kind) | (kind == "all"))
        means = {k: np.mean([e[i][inside[i]].mean() for i in rows]) for k, e in error.items()}
        yield {"case": f"warps_{kind}", "pairs": len(rows)} | rounded(means)


def tabletop_pairs(domain, seed, count, gap):
    """Pairs of fresh scenes with exact flow: first, second uint8 [N,H,W,3], flow [N,H,W,2]."""
    made = []
    for number in range(count):
        episode = tabletop.episode_from_seed(domain, f"{domain}/{number}", 1000 + seed)
        frames = tabletop.frames(episode)
        start = number % (len(frames) - gap)
        made.append((frames[start], frames[start + gap], tabletop.flow(episode, start, gap)))
    return [np.stack(x) for x in zip(*made, strict=True)]


def tabletop_angles(data, estimator, count=128):
    """Mean angles of the summaries, degrees, with their range over three sets of scenes."""
    del data
    methods = {"dis": dis, "dis_enlarged": functools.partial(enlarged, dis)}
    methods |= {f"teacher_{n}": functools.partial(estimator, updates=n) for n in UPDATES}
    for gap, domain in itertools.product(GAPS, tabletop.DOMAINS):
        found = collections.defaultdict(list)
        for seed in SEEDS:
            first, second, exact = tabletop_pairs(domain, seed, count, gap)
            truth = summary(exact)
            moving = ~np.asarray(truth["is_static"])
            for name, method in methods.items():
                angle = angles(truth["weighted"], summary(method(first, second))["weighted"])
                found[name].append(angle[moving].mean())
                found[f"{name}_median"].append(np.median(angle[moving]))
        means = {name: np.mean(x) for name, x in found.items()}
        spread = {f"{name}_range": np.ptp(found[name]) for name in methods}
        yield {"case": f"tabletop_{domain}_gap{gap}", "pairs": count * len(SEEDS)} | rounded(
            means | spread
        )


@jax.jit
def summary(flow_NHW2):
    return motion.summary(flow_NHW2)["raw"]


def angles(one_N2, other_N2):
    """Angles between vectors, degrees [N]."""
    x, y = ((np.asarray(v) @ np.array([1, 1j])) for v in (one_N2, other_N2))
    return np.abs(np.degrees(np.angle(x * np.conj(y))))


def clip_pairs(data, gap):
    """(name, first, second) of the real sources, uint8 [N,H,W,3]; gap: of the clips."""
    for path in sorted([*data.glob("rt1_clips/*.mp4"), *data.glob("bridge_clips/*.mp4")]):
        frames = np.stack(list(encode.frames(path)))
        yield f"{path.parent.name}/{path.stem}", frames[:-gap], frames[gap:]
    folder = data / "image_pairs"
    groups = itertools.groupby(encode.pictures(folder), lambda name: re.split(r"\d", name)[0])
    for name, files in groups:
        read = [cv2.imread(str(folder / file))[..., ::-1] for file in files]
        frames = np.stack([cv2.resize(x, None, fx=0.5, fy=0.5) for x in read])
        yield f"image_pairs/{name.rstrip('_')}", frames[:-1], frames[1:]


def clips(data, estimator):
    """What is left of frame 1 less frame 2 taken back, by source."""
    methods = {"zero": zero, "farneback": farneback, "dis": dis, "teacher_12": estimator}
    left = collections.defaultdict(lambda: collections.defaultdict(list))
    for gap in CLIP_GAPS:
        for name, first, second in clip_pairs(data, gap):
            case = f"{name.split('/')[0]}_gap{gap}"
            rows = np.linspace(0, len(first) - 1, min(len(first), 12)).astype(int)
            for method, estimate in methods.items():
                found = estimate(first[rows], second[rows])
                left[case][method] += difference(first[rows], second[rows], found)
    for source, errors in left.items():
        means = {name: np.mean(x) for name, x in errors.items()}
        yield {"case": f"clips_{source}", "pairs": len(errors["zero"])} | rounded(means)


def difference(first, second, found):
    """Mean absolute difference of each frame 1 and its frame 2 taken back by the flow."""
    y, x = np.mgrid[: first.shape[1], : first.shape[2]].astype(np.float32)
    left = []
    for one, other, flow_HW2 in zip(first, second, found, strict=True):
        back = cv2.remap(
            other, x + flow_HW2[..., 0], y + flow_HW2[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        left.append(np.abs(one.astype(float) - back).mean())
    return left


def picture(data, estimator, path):
    """Pairs of every source with their flow, as a PNG."""
    rows = []
    for name, first, second in clip_pairs(data, 3):
        middle = len(first) // 2
        square = [cv2.resize(x[middle], (256, 256)) for x in (first, second)]
        rows.append((*square, name.split("/")[-1][-12:]))
    rows = rows[:3] + rows[-3:]
    first, second, names = (np.stack(x) for x in zip(*rows, strict=True))
    figure = plots.flows(first / 255, second / 255, estimator(first, second), names, "Real video")
    plots.save(figure, path)


def rounded(numbers):
    return {key: float(f"{value:.4g}") for key, value in numbers.items()}


CASES = {"warps": warps, "tabletop": tabletop_angles, "clips": clips}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--weights", default="shipped")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--picture", default="")
    options = parser.parse_args()
    estimator = flow.load(options.weights)
    for case in options.cases.split(","):
        for line in CASES[case](options.data, estimator):
            print(json.dumps(line), flush=True)
    if options.picture:
        picture(options.data, estimator, options.picture)


if __name__ == "__main__":
    main()
