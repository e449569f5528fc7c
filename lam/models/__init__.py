"""Flax modules. Nothing here knows of data, files, training or configuration objects."""
