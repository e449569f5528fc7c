"""lam.plots: figures show every sample unsmoothed, without global state and without overlap."""

import subprocess
import sys

import numpy as np
import pytest

from lam import plots


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def images(figure):
    return [axis.images[0] for axis in figure.axes if axis.images]


def test_reconstructions_have_four_pictures_a_sample(rng):
    first, second, recon = rng.uniform(size=(3, 5, 16, 16, 3))
    figure = plots.reconstructions(first, second, recon, [f"set/domain{i}" for i in range(5)], "T")
    shown = images(figure)
    assert len(shown) == 20
    assert {picture.get_interpolation() for picture in shown} == {"nearest"}
    np.testing.assert_allclose(shown[2].get_array(), recon[0])
    np.testing.assert_allclose(shown[3].get_array(), np.abs(recon[0] - second[0]).mean(axis=-1))


def test_transfers_put_each_decoded_picture_in_its_cell(rng):
    rows, columns = rng.uniform(size=(3, 2, 16, 16, 3)), rng.uniform(size=(4, 16, 16, 3))
    recon = rng.uniform(size=(3, 4, 16, 16, 3))
    figure = plots.transfers(rows, columns, recon, list("abc"), list("defg"), "title")
    assert len(images(figure)) == 4 + 3 * 2 + 3 * 4
    second_row = images(figure)[4 + 6 : 4 + 12]
    np.testing.assert_allclose(second_row[0].get_array(), rows[1, 0])
    np.testing.assert_allclose(second_row[4].get_array(), recon[1, 2])


def test_code_counts_say_how_many_codes_are_used():
    figure = plots.code_counts(np.array([[5, 0, 5, 0], [1, 2, 3, 4]]), "title")
    texts = [axis.texts[0].get_text() for axis in figure.axes]
    assert texts == ["2 of 4 used", "4 of 4 used"]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(heights, [0.5, 0, 0.5, 0])


def test_displacements_colour_by_domain(rng):
    targets, predictions = rng.normal(size=(2, 30, 2))
    figure = plots.displacements(targets, predictions, np.array(["s/a", "s/b", "s/c"] * 10), "T")
    assert [len(axis.collections) for axis in figure.axes] == [3, 3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    np.testing.assert_allclose(
        figure.axes[1].collections[0].get_offsets(),
        np.stack([targets[::3, 1], predictions[::3, 1]], axis=1),
    )


def test_titles_and_labels_do_not_overlap(rng):
    labels = ["set/a_long_name_of_a_domain"] * 4
    rows, columns = rng.uniform(size=(4, 2, 8, 8, 3)), rng.uniform(size=(4, 8, 8, 3))
    recon = rng.uniform(size=(4, 4, 8, 8, 3))
    for figure in (
        plots.transfers(rows, columns, recon, labels, labels, "title"),
        plots.reconstructions(columns, columns, recon[0], labels, "title"),
    ):
        plots.to_array(figure)
        texts = [
            t for axis in figure.axes for t in (axis.title, axis._left_title, axis.yaxis.label)
        ]
        boxes = [t.get_window_extent() for t in texts if t.get_text()]
        pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
        assert not any(a.overlaps(b) for a, b in pairs)


def test_to_array_is_the_saved_picture(rng, tmp_path):
    figure = plots.code_counts(np.array([[1, 2]]), "title")
    pixels = plots.to_array(figure)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    assert pixels.min() < 100 < 200 < pixels.max()
    plots.save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_pyplot_alone():
    program = "import sys; from lam import plots; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
