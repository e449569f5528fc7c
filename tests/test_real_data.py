"""Twenty steps of the debug model on real robot sets, as their owners wrote them."""

import logging

import numpy as np
import pytest
from train_fixtures import config_of, lines

from lam import train


@pytest.mark.parametrize(
    ("folder", "has_action"),
    [
        ("octo_bridge_debug/bridge_dataset/1.0.0", True),  # TFRecord
        ("tfds_array_record_example/bridge_dataset/1.0.0", True),
        ("rt1_mini/0.1.0", False),
    ],
)
def test_learns_something(real_data, tmp_path, caplog, folder, has_action):
    changes = {
        "total_steps": 20,
        "data.val_fraction": 0.3,
        "data.split_by": "episode",
        "evals.motion.type": "motion",
    }
    config = config_of(real_data / folder, **changes)
    with caplog.at_level(logging.WARNING, "lam.evaluation"):
        results = train.train_and_evaluate(config, tmp_path)
    losses = np.array([row["loss"] for row in lines(tmp_path)])
    assert len(losses) == 20
    assert np.isfinite(losses).all()
    assert losses[-5:].mean() < losses[:5].mean()
    assert ("motion/r2" in results) == has_action
    assert ("evals.motion is left out: the data has no action" in caplog.text) != has_action
