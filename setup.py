"""Packaging. The four packages are listed by name, so that tests and scripts do not ship."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
NAMES = ("lam", "input_pipeline", "configs", "analysis")
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "lam" / "__init__.py").read_text())[1]
README = ROOT / "README.md"

setup(
    name="latent-action-models",
    version=VERSION,
    description="Latent actions from robot video, in JAX",
    long_description=README.read_text() if README.exists() else "",
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    package_data={"lam.flow": ["*.safetensors"], "analysis.tokens": ["page/*"]},
    packages=find_packages(include=[*NAMES, *(f"{name}.*" for name in NAMES)]),
    install_requires=[
        "jax>=0.10.2,<0.13",
        "flax>=0.12.8",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12.8",
        "numpy",
        "grain>=0.2.18",
        "array-record>=0.8.3",
        "tensorflow-datasets>=4.9.10",
        # TensorFlow only reads data, so its CPU build is the right one on GPU and TPU hosts too
        'tensorflow-cpu>=2.21; sys_platform == "linux" and platform_machine == "x86_64"',
        'tensorflow>=2.21; sys_platform != "linux" or platform_machine != "x86_64"',
        "pillow",
        "pyarrow",
        "scipy",
        "google-crc32c",
        "safetensors",
        "simplejpeg",
        "opencv-python-headless",
        "etils",
        "einops",
        "ml-collections>=1.1.0",
        "absl-py",
        "clu>=0.0.12",
        "tensorboard",
        "matplotlib",
    ],
    extras_require={
        "cuda": ["jax[cuda12]>=0.10.2,<0.13"],
        "cuda13": ["jax[cuda13]>=0.10.2,<0.13"],
        "tpu": ["jax[tpu]>=0.10.2,<0.13"],
        "analysis": ["scikit-learn", "umap-learn", "hdbscan"],
        "video": ["av"],
        "beam": ["apache-beam"],
        "text": ["transformers>=5"],
        "oracles": ["torch==2.13.0", "einops"],
        "dev": [
            "av",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "setuptools",
        ],
    },
)
