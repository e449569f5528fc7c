"""What all tests share: one CPU device, quick compiles, the real data, a tiny built-in set."""

import os
import pathlib
import tempfile

# subprocesses inherit these, too
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # compiles twice as fast
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="lam-test-cache-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data():
    """Folder with real robot data, or skip."""
    path = pathlib.Path(os.environ.get("LAM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data: LAM_TEST_DATA or {path} is no folder")
    return path


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the tests of one session keep their built-in data sets."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def tabletop(data_dir):
    """Folders of a small built-in set by file format; made when first asked for."""
    from input_pipeline.tabletop import write

    class Folders(dict):
        def __missing__(self, file_format):
            self[file_format] = write(
                str(data_dir / file_format), scenes=6, steps=8, image_size=16,
                file_format=file_format, progress=False,
            )  # fmt: skip
            return self[file_format]

    return Folders()
