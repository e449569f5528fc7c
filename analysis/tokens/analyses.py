"""The analyses, in the order of their folders: analysis_1_flow_scatter and so on."""

import inspect
import re

from analysis.tokens import (
    codebook,
    compass,
    consistency,
    cross_robot,
    disentanglement,
    examples,
    flow_scatter,
    flow_transfer,
    heatmap,
    magnitude,
    order,
    state,
    text,
    token_reports,
    transfer,
)

MODULES = (
    flow_scatter, consistency, examples, transfer, heatmap, compass, flow_transfer, token_reports,
    disentanglement, text, order, magnitude, cross_robot, state, codebook,
)  # fmt: skip
ANALYSES = {module.__name__.rpartition(".")[2]: module.run for module in MODULES}


def folder_of(name):
    """The folder of an analysis."""
    return f"analysis_{list(ANALYSES).index(name) + 1}_{name}"


def question(name):
    """What an analysis asks: the first sentence of its module, without its number."""
    text = " ".join(inspect.getdoc(inspect.getmodule(ANALYSES[name])).split())
    return re.match(r"(?:Analysis \d+: )?(.+?[.?])(?= |$)", text)[1]
