"""Weights of other projects to our trees and back: `python -m lam.convert MODEL SOURCE TARGET`."""
