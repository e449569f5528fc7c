"""Drawings of what tokens say: numbers in, a matplotlib Figure out, in the style of `lam.plots`.

N samples, L token positions, K codes, S sequences of tokens, R rows of a grid, G groups of samples.
Colours and marks together tell up to 56 kinds apart, also for eyes that confuse red and green.
"""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lam.plots import COLOURS, MARKERS, STYLE, dots, grid, label_row, short, show

PANEL = 1.75  # inches
MANY = "cividis"  # colours of what is too much for a legend
PAIRS = ("tokens of", "first frame of")  # rows and columns of `angles`
TOO_MANY = len(COLOURS) * len(MARKERS)


def scatter(points_N2, tokens_NL, top_SL, names, title):
    """Samples in a plane: a panel for each position coloured by its token, one coloured by the
    whole sequence, one that picks out the most frequent sequences.

    Args:
      top_SL: the sequences to pick out, the most frequent first.
      names: of the two axes.
    """
    length = tokens_NL.shape[1]
    _, place_N = np.unique(tokens_NL, axis=0, return_inverse=True)
    number_N = np.full(len(tokens_NL), -1)
    for number, sequence in enumerate(top_SL):
        number_N[(tokens_NL == sequence).all(axis=1)] = number
    with matplotlib.rc_context(STYLE):
        figure, axes = _panels(length + 2, points_N2)
        for position in range(length):
            _kinds(axes[position], points_N2, tokens_NL[:, position])
            axes[position].set_title(f"token {position}")
        axes[length].scatter(*points_N2.T, s=6, c=place_N, cmap=MANY, linewidth=0, alpha=0.8)
        axes[length].set_title(f"{place_N.max() + 1} sequences")
        axes[-1].scatter(*points_N2[number_N < 0].T, s=3, color="0.85", linewidth=0)
        _kinds(axes[-1], points_N2, number_N)
        axes[-1].set_title(f"the {len(top_SL)} most frequent")
        _legend(figure, axes[:length], "code")
        handles = axes[-1].get_legend_handles_labels()[0]
        labels = [" ".join(map(str, top_SL[int(h.get_label())])) for h in handles]
        figure.legend(handles, labels, loc="outside right center", frameon=False, title="sequence")
        _name_axes(figure, axes, names, title)
    return figure


def embedding(points_LN2, tokens_NL, share_L, title, codes_LK2=()):
    """A panel for each position: its latents along their principal components, by token.

    codes_LK2: the place of each code, where its number is written.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _panels(len(points_LN2))
        panels = zip(axes, points_LN2, tokens_NL.T, share_L, strict=True)
        for position, (axis, points_N2, tokens_N, share) in enumerate(panels):
            _kinds(axis, points_N2, tokens_N)
            axis.set_title(f"token {position}: {100 * share:.0f} % of variance")
            if len(codes_LK2):
                axis.scatter(*codes_LK2[position].T, alpha=0)  # so that all are within the panel
                for code, place_2 in enumerate(codes_LK2[position]):
                    _number(axis, place_2, code)
        _legend(figure, axes, "code")
        _name_axes(figure, axes, ("component 1", "component 2"), title)
    return figure


def sequences(top_SL, counts_SG, groups_G, samples, title):
    """How often the most frequent sequences of tokens occur, and in which groups."""
    labels = [" ".join(map(str, sequence)) for sequence in top_SL]
    with matplotlib.rc_context(STYLE):
        figure = Figure((4.5, 0.9 + 0.16 * len(top_SL)), layout="constrained")
        axis, left_S = figure.subplots(), np.zeros(len(top_SL))
        for number, (group, counts_S) in enumerate(zip(groups_G, counts_SG.T, strict=True)):
            colour = COLOURS[number % len(COLOURS)]
            axis.barh(labels, counts_S / samples, left=left_S, color=colour, label=short(group))
            left_S = left_S + counts_S / samples
        axis.invert_yaxis()
        axis.tick_params(axis="y", labelsize=6.5)
        axis.set_xlabel("share of samples")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(f"Most frequent sequences of tokens, {title}", loc="left")
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def examples(first_RQHWC, second_RQHWC, labels_RQ, names_R, title):
    """A row for each sequence of tokens: pairs of frames that share it, side by side.

    Images are float [0,1]; a label of "" leaves its cell empty.
    """
    rows, columns = len(first_RQHWC), len(first_RQHWC[0])
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(rows, 2 * columns, title)
        for row in range(rows):
            for column in range(columns):
                cells = axes[row, 2 * column : 2 * column + 2]
                if not labels_RQ[row][column]:
                    continue
                for cell, pictures in zip(cells, (first_RQHWC, second_RQHWC), strict=True):
                    show(cell, pictures[row][column])
                cells[0].set_title(short(labels_RQ[row][column]), fontsize=7, loc="left", pad=2)
            label_row(axes[row, 0], names_R[row])
    return figure


def probes(rows, title):
    """R2 of every probe with its interval, a panel for each target.

    Args:
      rows: {"<target>/<input>_<probe>": (R2,) or (R2, low, high)}; probes are linear and mlp.
    """
    panels = {}
    for name, numbers in rows.items():
        target, rest = name.split("/")
        panels.setdefault(target, {}).setdefault(rest.rsplit("_", 1)[0], {})[
            rest.rsplit("_", 1)[1]
        ] = numbers
    with matplotlib.rc_context(STYLE):
        height = 0.8 + sum(0.35 + 0.2 * len(inputs) for inputs in panels.values())
        figure = Figure((4.5, height), layout="constrained")
        sizes = [len(inputs) for inputs in panels.values()]
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=sizes)[
            :, 0
        ]
        for axis, (target, inputs) in zip(axes, panels.items(), strict=True):
            for kind, colour, marker, shift in (
                ("linear", COLOURS[0], "o", -0.15),
                ("mlp", COLOURS[1], "s", 0.15),
            ):
                for place, numbers in enumerate(inputs.values()):
                    if kind in numbers:
                        _interval(axis, numbers[kind], place + shift, colour, marker, kind)
            axis.set_yticks(range(len(inputs)), [name.replace("_", " ") for name in inputs])
            axis.set_ylim(len(inputs) - 0.4, -0.6)
            axis.set_title(f"to {target}", loc="left")
            axis.axvline(0, color="0.4", linewidth=0.7, linestyle="--")
            axis.spines[["top", "right"]].set_visible(False)
        axes[-1].set_xlim(-0.3, 1.02)
        axes[-1].set_xlabel("R² (what is below -0.3 stands at the edge)")
        figure.suptitle(f"Probes, {title}", fontsize=9)
        handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=2, frameon=False)
    return figure


def angles(angle_GG, names_G, title, null=np.nan, bounds_GG2=None, axes=PAIRS):
    """An angle in degrees for each pair of domains, written in its cell; NaN stays empty.

    Args:
      null: degrees by chance, a line in the scale; NaN draws none.
      bounds_GG2: the interval of each, written below it.
      axes: what rows and columns are.
    """
    names = [short(name) for name in names_G]
    with matplotlib.rc_context(STYLE):
        side = 1.3 + 0.6 * len(names)
        figure = Figure((side + 0.9, side), layout="constrained")
        axis = figure.subplots()
        shown = axis.imshow(angle_GG, cmap=f"{MANY}_r", vmin=0, vmax=100)
        for (row, column), angle in np.ndenumerate(angle_GG):
            if np.isfinite(angle):
                low, high = (np.nan, np.nan) if bounds_GG2 is None else bounds_GG2[row, column]
                text = f"{angle:.0f}°" + (f"\n{low:.0f}-{high:.0f}" if np.isfinite(low) else "")
                colour = "white" if angle > 45 else "black"
                axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylabel(axes[0])
        axis.set_xlabel(axes[1])
        axis.spines[:].set_visible(False)
        bar = figure.colorbar(shown, ax=axis, ticks=(0, 30, 60, 90), fraction=0.06)
        bar.set_label("degrees", fontsize=7)
        if np.isfinite(null):
            bar.ax.axhline(null, color="white", linewidth=1.5)
            bar.set_label(f"degrees (line: by chance, {null:.0f})", fontsize=7)
        bar.outline.set_linewidth(0.5)
        figure.suptitle(title, fontsize=9)
    return figure


def _interval(axis, numbers, height, colour, marker, label):
    """A mark at R2 with a bar over its interval, both cut off at -0.3."""
    value, *bounds = np.maximum(numbers, -0.3)
    if bounds:
        axis.plot(bounds, [height, height], color=colour, linewidth=1.2)
    axis.plot([value], [height], marker, color=colour, markersize=4, label=label, linestyle="")


def _number(axis, place_2, code):
    """The number of a code in a white disc."""
    disc = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "0.3", "lw": 0.6}
    axis.text(*place_2, str(code), ha="center", va="center", fontsize=6, bbox=disc)


def _kinds(axis, points_N2, kinds_N):
    """Points by kind, an integer from 0; negative ones are left out."""
    for kind in np.unique(kinds_N[kinds_N >= 0]):
        dots(axis, points_N2[kinds_N == kind].T, kind, str(kind))


def _legend(figure, axes, title):
    """The kinds of all these panels, if they can be told apart."""
    found = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= dict(zip(map(int, labels), handles, strict=True))
    if len(found) <= TOO_MANY:
        kinds = sorted(found)
        figure.legend(
            [found[kind] for kind in kinds], kinds, loc="outside lower center", ncols=12,
            frameon=False, title=title, handletextpad=0.1, columnspacing=0.9, markerscale=1.5,
        )  # fmt: skip


def _panels(count, points_N2=None):
    """A figure of `count` panels; one scale for all where points are given."""
    columns = columns_of(count)
    rows = -(-count // columns)
    size = (PANEL * columns + 1.0, (PANEL + 0.1) * rows + 0.9)
    figure = Figure(size, layout="constrained")
    shared = points_N2 is not None
    axes = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).flatten()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=6.5)
    for axis in axes[count:]:
        axis.axis("off")
    return figure, axes[:count]


def columns_of(count):
    return 2 if count == 4 else min(3, count)


def _name_axes(figure, axes, names, title):
    """Names at the lowest panel of each column and the first of each row."""
    columns = columns_of(len(axes))
    for number, axis in enumerate(axes):
        if number + columns >= len(axes):
            axis.set_xlabel(names[0])
        if number % columns == 0:
            axis.set_ylabel(names[1])
    figure.suptitle(title, fontsize=9)
