"""Offline programs over trained models: `python -m analysis.tokens`."""
