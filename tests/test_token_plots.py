"""lam.token_plots: every sample is drawn, kinds can be told apart, nothing lies over the legend."""

import numpy as np
import pytest

from lam import plots, token_plots


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_kinds_differ_in_colour_and_mark(rng):
    tokens = np.arange(56).repeat(2)[:, None]
    figure = token_plots.scatter(rng.normal(size=(112, 2)), tokens, tokens[:2], ("a", "b"), "title")
    looks = {
        (tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes())
        for dots in figure.axes[0].collections
    }
    assert len(looks) == 56


def test_the_legend_has_codes_that_only_a_later_position_has(rng):
    tokens = np.stack([rng.integers(0, 2, 40), rng.integers(3, 5, 40)], axis=1)
    figure = token_plots.scatter(rng.normal(size=(40, 2)), tokens, tokens[:1], ("a", "b"), "title")
    codes, sequences = ([t.get_text() for t in legend.get_texts()] for legend in figure.legends)
    assert codes == ["0", "1", "3", "4"]
    assert sequences == [" ".join(map(str, tokens[0]))]


def test_too_many_codes_have_no_legend(rng):
    points = rng.normal(size=(1, 200, 2))
    figure = token_plots.embedding(points, np.arange(200)[:, None], [1.0], "title")
    assert not figure.legends
    assert sum(len(dots.get_offsets()) for dots in figure.axes[0].collections) == 200


@pytest.mark.parametrize("length", [1, 2, 4, 7])
def test_names_and_legends_do_not_overlap(rng, length):
    tokens = rng.integers(0, 8, (60, length))
    scatter = token_plots.scatter(
        rng.normal(size=(60, 2)), tokens, tokens[:6], ("action, dim 0", "action, dim 1"), "title"
    )
    points = rng.normal(size=(length, 60, 2))
    for figure in (scatter, token_plots.embedding(points, tokens, [0.5] * length, "title")):
        plots.to_array(figure)
        shown = [axis for axis in figure.axes if axis.axison]
        texts = [t for a in shown for t in (a.title, a.xaxis.label, a.yaxis.label) if t.get_text()]
        boxes = [t.get_window_extent() for t in (*texts, *figure.legends)]
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
        assert not any(a.overlaps(b) for a, b in pairs)


def test_probes_have_a_row_for_each_input_and_a_bar_for_each_interval():
    rows = {
        "action/tokens_linear": (0.9, 0.8, 0.95),
        "action/tokens_mlp": (0.92,),
        "action/random_tokens_linear": (-4.0, -5.0, 0.1),
        "state/tokens_linear": (0.1, 0.0, 0.2),
    }
    first, second = token_plots.probes(rows, "title").axes
    assert [t.get_text() for t in first.get_yticklabels()] == ["tokens", "random tokens"]
    assert [t.get_text() for t in second.get_yticklabels()] == ["tokens"]
    data = [line.get_xdata().tolist() for line in first.lines[:-1]]  # the last is at zero
    assert data == [[0.8, 0.95], [0.9], [-0.3, 0.1], [-0.3], [0.92]]
    assert first.get_title(loc="left") == "to action"


def test_angles_stand_in_their_cells():
    figure = token_plots.angles(
        np.array([[10.0, 50.0], [np.nan, 0.0]]), ["s/a", "s/b"], "T", 89.0,
        np.array([[[5, 20], [40, 60]], [[0, 9], [np.nan, np.nan]]]),
    )  # fmt: skip
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == ["10°\n5-20", "50°\n40-60", "0°"]
    assert axis.texts[1].get_position() == (1, 0)  # column, row
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a", "b"]


def test_examples_leave_empty_cells(rng):
    first, second = rng.uniform(size=(2, 3, 8, 8, 3))
    figure = token_plots.examples(
        [first[:2], first[2:]], [second[:2], second[2:]], [["s/a", "s/b"], ["s/c", ""]], "xy", "T"
    )
    shown = [axis for axis in figure.axes if axis.images]
    assert len(figure.axes) == 8
    assert [axis.get_title(loc="left") for axis in shown[::2]] == ["a", "b", "c"]
    np.testing.assert_allclose(shown[3].images[0].get_array(), second[1])
