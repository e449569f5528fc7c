"""What all tests share: eight pretended CPU devices, the real data, a tiny built-in set."""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiles twice as fast
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def test_data():
    """Folder with real robot data, or skip."""
    path = pathlib.Path(os.environ.get("LAM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data: LAM_TEST_DATA or {path} is no folder")
    return path


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the tests of one session keep their built-in data sets."""
    return tmp_path_factory.mktemp("data")
