"""The input benchmark's sets are what they say, and its cases run, on toy sets of two clips."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import input_pipeline

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
STEPS, HEIGHT, WIDTH = 9, 32, 48


@pytest.fixture(scope="module")
def lib():
    """The modules of the benchmark by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        names = ("input", "input_data", "input_cases")
        yield {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def clips():
    """Two clips of smooth noise, so that JPEG keeps them: list of (uint8 [T,H,W,3], text)."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, STEPS, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return [(one.repeat(8, 1).repeat(8, 2), f"do {i}") for i, one in enumerate(small)]


@pytest.fixture(scope="module")
def sets(lib, clips, tmp_path_factory):
    """Folder with all sets of the benchmark, of six and two episodes."""
    folder = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        small = {"rt1_like": ("rt1_clips", 6, 3.0), "bridge_like": ("bridge_clips", 2, 5.0)}
        patch.setattr(lib["input_data"], "SETS", small)
        patch.setattr(lib["input_data"], "FRAMES", {"rt1_frames": ("rt1_like", ())})
        patch.setattr(lib["input_data"], "read_clips", lambda folder, where: clips)
        patch.setenv("PYTHONPATH", str(FOLDER.parent))
        lib["input_data"].ensure(folder)
    return folder


def options(lib, sets, *more):
    """Options as of a command line: very short measurements."""
    short = ("--seconds=0.1", "--minutes=0.005", "--batches=2")
    return lib["input"].parse([f"--data={sets}", *short, *more])


def job(lib, sets, name, backend, **more):
    """A job for `input_cases`, with small batches."""
    data = lib["input"].data_config(options(lib, sets), name, backend) | {"image_size": 32}
    return {"data": data, "batch_size": 4, "cores": [0], "seconds": 0.1, **more}


def test_variants_are_the_same_pixels_in_other_places(lib, clips):
    frames_THWC, _ = clips[0]
    found = [lib["input_data"].variant(frames_THWC, number) for number in range(4)]
    assert len({one.tobytes() for one in found}) == 4
    assert np.array_equal(found[0], frames_THWC)
    large = np.arange(256 * 320 * 3, dtype=np.uint32).reshape(1, 256, 320, 3)
    found = [lib["input_data"].variant(large, number) for number in range(32)]
    assert len({one.tobytes() for one in found}) == 32
    assert all(one.sum() == large.sum() for one in found)


@pytest.mark.parametrize("name", ["rt1_like", "rt1_frames"])
def test_sets_hold_the_clips(lib, clips, sets, name):
    data = job(lib, sets, name, "random")["data"]
    loader = input_pipeline.make(data | {"image_size": HEIGHT}, 6, seed=0)
    (counts,) = loader.summary().values()
    assert counts["splits"]["train"]["episodes"] == 6
    assert counts["splits"]["train"]["pairs"] == 6 * (STEPS - lib["input"].GAP)
    batch = next(loader)
    loader.close()
    assert np.allclose(batch["dt"], lib["input"].GAP / 3.0)
    for frames_THWC, text, key in zip(batch["frames"], batch["text"], batch["key"], strict=True):
        number, start = (int(part) for part in key.rpartition("/")[2].split("@"))
        clip, wanted = clips[number % 2]
        assert text == wanted
        wanted_THWC = lib["input_data"].variant(clip, number // 2)[[start, start + 5]]
        middle = frames_THWC[:, :, HEIGHT // 2].mean(axis=(1, 2)).astype(int)
        # of 48 columns squeezed into 32, number 16 is between 24 and 25
        assert np.abs(middle - wanted_THWC[:, :, 24].mean(axis=(1, 2))).max() < 12


def test_large_set_repeats_every_shard(lib, sets):
    counts = []
    for name in ("bridge_like", "bridge_large"):
        loader = input_pipeline.make(job(lib, sets, name, "random")["data"], 4)
        counts.append(loader.summary()[name]["splits"]["train"]["episodes"])
    assert counts[1] == lib["input_data"].COPIES * counts[0]


@pytest.mark.parametrize(("name", "backend"), [("rt1_like", "stream"), ("rt1_frames", "random")])
def test_measurements_have_figures(lib, sets, name, backend):
    cases = lib["input_cases"]
    found = cases.rate(job(lib, sets, name, backend))
    assert found["least"] <= found["pairs_per_cpu_second"] <= found["most"]
    assert found["peak_rss_mb"] > 10
    found = cases.resume(job(lib, sets, name, backend, batches=3))
    assert found["exact"]
    assert found["state_bytes"] < 200
    found = cases.memory(job(lib, sets, name, backend, minutes=0.01, every=0.05))
    assert np.isfinite(found["slope_mb_per_minute"])


def test_slope_is_that_of_the_line(lib):
    x = np.linspace(0, 10, 50)
    slope, error = lib["input_cases"]._slope(np, x, 3 * x + 100 + (-1.0) ** np.arange(50))
    assert slope == pytest.approx(3, abs=0.1)
    assert 0 < error < 0.1


def test_naive_peer_gives_pairs(lib, sets):
    folder = str(lib["input_data"].folder(sets, "rt1_like"))
    arguments = {"folder": folder, "gap": 5, "pairs_per_episode": "all"}
    data = {"sources": folder, "image_size": 16}
    job = {"peer": "naive", "arguments": arguments, "seconds": 0.1}
    found = lib["input"].child("peer", data, os.sched_getaffinity(0), **job)
    assert found["pairs_per_cpu_second"] > 0


def test_command_prints_a_line_a_case(sets):
    command = [sys.executable, str(FOLDER / "input.py"), f"--data={sets}", "--seconds=0.1"]
    done = subprocess.run(
        [*command, "--cases=rt1_one_random,octo_dense"], capture_output=True, text=True
    )
    ours, octo = (json.loads(line) for line in done.stdout.splitlines())
    assert ours["pairs_per_cpu_second"] > 0
    assert (ours["floor"], ours["ok"]) == (900, ours["pairs_per_cpu_second"] >= 900)
    assert "--octo" in octo["skipped"]


def test_scaling_counts_only_time_that_was_ours(lib, sets, monkeypatch):
    def child(kind, data, cores, **more):
        """Half of the cores' time is taken by others in the runs on two cores."""
        rate = 1000.0 * len(cores) * (0.5 if len(cores) == 2 else 1.0)
        return {"pairs_per_second": rate, "pairs_per_free_second": 1000.0 * (0.9 ** len(cores))}

    monkeypatch.setattr(lib["input"], "child", child)
    found = lib["input"].run(options(lib, sets), "two_cores_random", {})
    assert (found["ratio"], found["ratio_wall"], found["ok"]) == (1.8, 1.0, True)


def test_report_is_a_narrow_table(lib):
    rows = [
        {"case": "rt1_dense_stream", "pairs_per_cpu_second": 123.4, "ok": False},
        {"case": "octo_dense", "skipped": "no clones"},
        {"case": "resume_stream", "error": "gone", "ok": False},
    ]
    table = lib["input"].report([json.dumps(row) for row in rows] + ["noise"])
    assert max(map(len, table.splitlines())) <= 80
    assert "123.4" in table.splitlines()[1]
    assert table.splitlines()[1].endswith("NO")
    assert table.splitlines()[2].endswith("skip")


def test_unknown_case_is_named(lib, capsys):
    with pytest.raises(SystemExit):
        lib["input"].parse(["--data=x", "--cases=rt1_dense"])
    assert "rt1_dense is none of rt1_dense_stream" in capsys.readouterr().err
