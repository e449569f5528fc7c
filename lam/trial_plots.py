"""Drawings of decoded pictures and what they show: numbers in, a matplotlib Figure out.

R rows, Q columns, H W pixels, C colours, G domains, V values of a row. A picture is uint8 or float
[0,1]; all of a mosaic are one image, so that figures stay small and quick.
"""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lam import plots
from lam.plots import STYLE

CELL, GAP = 0.82, 0.06  # inches of a picture; between pictures, in its sides
TALL = 0.22  # inches of a row of numbers
HEAD = 7  # points of the words around a picture
CHANCE = {"color": "0.35", "linewidth": 1.0, "linestyle": "--"}


def mosaic(pictures_RQ, title, heads=(), rows=(), notes=None, colours=None, lifted=0.0):
    """A table of pictures.

    Args:
      pictures_RQ: lists of lists of pictures [H,W,C] of one size; None leaves a cell empty.
      heads: words above the columns; rows: beside the rows.
      notes: {(row, column): words above that picture}; needs room, `lifted` of a picture's side.
      colours: {(row, column): colour of the note}.
    """
    count, columns = len(pictures_RQ), max(map(len, pictures_RQ))
    height, width = next(p.shape[:2] for row in pictures_RQ for p in row if p is not None)
    down, right = height * (1 + GAP + lifted), width * (1 + GAP)
    tall = CELL * height / width
    with matplotlib.rc_context(STYLE):
        side = 0.25 + 0.062 * max((len(str(name)) for name in rows), default=0)
        above = 0.32 + (0.16 * (1 + max(h.count("\n") for h in heads)) if heads else 0.05)
        size = (side + CELL * (1 + GAP) * columns, above + tall * (1 + GAP + lifted) * count)
        wide = max(size[0], 0.25 + 0.067 * len(title))
        figure = Figure((wide, size[1] + 0.05))
        axis = figure.add_axes(
            (side / wide, 0.05 / (size[1] + 0.05), (size[0] - side) / wide,
             (size[1] - above) / (size[1] + 0.05))
        )  # fmt: skip
        sheet = np.full((round(count * down), round(columns * right), 3), 255, np.uint8)
        for (row, column), picture in _cells(pictures_RQ):
            y, x = round(row * down + lifted * height), round(column * right)
            sheet[y : y + height, x : x + width] = _bytes(picture)
        axis.imshow(sheet, interpolation="nearest", aspect="auto")
        ticks = [row * down + (lifted + 0.5) * height for row in range(len(rows))]
        axis.set_yticks(ticks, [str(name) for name in rows], fontsize=HEAD)
        axis.set_xticks([column * right + width / 2 for column in range(len(heads))], heads)
        axis.xaxis.tick_top()
        axis.tick_params(length=0, labelsize=HEAD, pad=2)
        axis.spines[:].set_visible(False)
        for (row, column), words in (notes or {}).items():
            y, x = row * down + (lifted - 0.06) * height, column * right
            colour = (colours or {}).get((row, column), "black")
            axis.text(x, y, words, fontsize=6.5, color=colour, va="bottom")
        figure.text(0.02, 1 - 0.05 / size[1], title, fontsize=9, va="top")
    return figure


def flow_pictures(flow, largest=None):
    """Flow fields [..., H, W, 2] as pictures in the colours of `plots.flow_to_image`.

    largest: length of full colour, pixels; by default that of 99 % of all vectors, at least 1.
    """
    flow = np.asarray(flow, np.float32)
    return plots.flow_to_image(flow, full_length(flow) if largest is None else largest)


def full_length(*flows):
    """A length of full colour for several flow fields: 99 % of all vectors are shorter; >= 1."""
    lengths = [np.linalg.norm(np.asarray(flow, np.float32), axis=-1).ravel() for flow in flows]
    lengths = np.concatenate(lengths)
    lengths = lengths[np.isfinite(lengths)]
    return float(max(1.0, np.percentile(lengths, 99))) if len(lengths) else 1.0


def rows_of_values(values_R, kinds_R, names, rows, marks_R, null, label, title, limits=None):
    """A row for each token or variant: its values as dots, their mean with its interval.

    Args:
      values_R, kinds_R: lists of arrays [V], and the domain (a name) of each value.
      names: all domains of the report, for their colours.
      rows: names of the rows.
      marks_R: (value, low, high) of each row.
      null: position of the line of chance, or an array [R], one for each row; NaN draws none.
    """
    null_R = np.broadcast_to(null, len(rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure((plots.WIDTH, 1.25 + TALL * len(rows)), layout="constrained")
        axis = figure.subplots()
        for row, (values, kinds) in enumerate(zip(values_R, kinds_R, strict=True)):
            for name in np.unique(kinds):
                here = np.asarray(kinds) == name
                y = row + 0.28 * _spread(here.sum())
                axis.scatter(
                    values[here], y, s=7, alpha=0.5, linewidth=0,
                    color=plots.colour_of(name, names), marker=plots.mark_of(name, names),
                )  # fmt: skip
        for row, (value, low, high) in enumerate(marks_R):
            axis.plot([low, high], [row, row], color="black", linewidth=1.4)
            axis.plot([value], [row], "|", color="black", markersize=9, markeredgewidth=1.8)
            axis.plot([null_R[row]] * 2, [row - 0.42, row + 0.42], **CHANCE)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        if limits:
            axis.set_xlim(*limits)
        axis.set_xlabel(f"{label}\n(black: mean with its interval; dashed: by chance)")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(title, loc="left", fontsize=9)
        shown = sorted({str(name) for kinds in kinds_R for name in kinds})
        plots.name_legend(figure, names, shown)
    return figure


def bars(values_LG, low_LG, high_LG, rows, groups, colours, null_LG, label, title):
    """Bars by row, one for each group, with intervals and a dashed mark of chance."""
    count = len(groups)
    with matplotlib.rc_context(STYLE):
        figure = Figure((plots.WIDTH, 1.1 + (0.13 * count + 0.1) * len(rows)), layout="constrained")
        axis = figure.subplots()
        for number, group in enumerate(groups):
            y = np.arange(len(rows)) + (number - (count - 1) / 2) * 0.8 / count
            axis.barh(y, values_LG[:, number], 0.75 / count, color=colours[number], label=group)
            for row, place in enumerate(y):
                ends = low_LG[row, number], high_LG[row, number]
                axis.plot(ends, [place, place], color="black", linewidth=1.0)
                chance = [null_LG[row, number]] * 2
                axis.plot(chance, [place - 0.4 / count, place + 0.4 / count], **CHANCE)
        axis.set_yticks(range(len(rows)), rows)
        axis.invert_yaxis()
        axis.set_xlabel(f"{label}\n(line: interval; dashed: by chance)")
        axis.axvline(0, color="0.5", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(title, loc="left", fontsize=9)
        if count > 1:
            figure.legend(loc="outside lower center", ncols=min(4, count), frameon=False)
    return figure


def shifts(vectors_G, points_G, names, shown, unit, title):
    """Motions of one token: a dot a sample, an arrow for the mean of each domain, y down.

    Args:
      vectors_G: {domain: mean motion [2]}; points_G: {domain: [V,2]} samples.
      names: all domains of the report; shown: those to draw.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure((3.4, 3.7), layout="constrained")
        axis = figure.subplots()
        cloud = np.concatenate([*points_G.values(), np.zeros((1, 2))])
        reach = 1.1 * max(np.percentile(np.abs(cloud), 98), 1e-6)
        for name in shown:
            colour = plots.colour_of(name, names)
            mark = plots.mark_of(name, names)
            axis.scatter(*points_G[name].T, s=7, alpha=0.35, linewidth=0, color=colour, marker=mark)
        for name in shown:
            axis.annotate(
                "", xy=vectors_G[name], xytext=(0, 0),
                arrowprops={"arrowstyle": "-|>", "color": plots.colour_of(name, names), "lw": 2.2},
            )  # fmt: skip
        axis.axhline(0, color="0.75", linewidth=0.6, zorder=0)
        axis.axvline(0, color="0.75", linewidth=0.6, zorder=0)
        axis.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")
        axis.set(xlabel=f"right, {unit}", ylabel="down")
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(title, fontsize=9)
        plots.name_legend(figure, names, shown, columns=3)
    return figure


def shares(share_AB, rows, columns, xlabel, ylabel, title, label="share of the row, %"):
    """A table of shares 0..1 as shades, with the percentages in its cells where there is room."""
    count_A, count_B = share_AB.shape
    with matplotlib.rc_context(STYLE):
        wide = 1.0 + 0.055 * max(len(str(row)) for row in rows) + 0.34 * count_B
        figure = Figure((max(wide, 3.2), 1.3 + 0.24 * count_A), layout="constrained")
        axis = figure.subplots()
        top = max(float(np.nanmax(share_AB)), 1e-6)
        image = axis.imshow(100 * share_AB, cmap="cividis", vmin=0, vmax=100 * top, aspect="auto")
        for (row, column), share in np.ndenumerate(share_AB):
            if count_B <= 24:
                colour = "black" if share > 0.6 * top else "white"
                text = f"{100 * share:.0f}"
                axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=6.5)
        axis.set_yticks(range(count_A), rows, fontsize=HEAD)
        axis.set_xticks(range(count_B), columns, fontsize=HEAD)
        axis.set(xlabel=xlabel, ylabel=ylabel)
        if max(len(str(column)) for column in columns) > 2:
            axis.tick_params(axis="x", rotation=90)
        axis.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axis, fraction=0.05)
        bar.set_label(label, fontsize=HEAD)
        bar.outline.set_linewidth(0.5)
        figure.suptitle(title, fontsize=9)
    return figure


def code_usage(shares_GLK, domains):
    """How often each code occurs: a panel for each position, a step line for each domain."""
    positions, count = shares_GLK.shape[1:]
    edges = np.arange(count + 1) - 0.5
    with matplotlib.rc_context(STYLE):
        figure = Figure((plots.WIDTH, 1.0 + 0.85 * positions), layout="constrained")
        axes = figure.subplots(positions, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for position, axis in enumerate(axes):
            for domain, share_LK in zip(domains, shares_GLK, strict=True):
                share_K, colour = share_LK[position], plots.colour_of(domain, domains)
                axis.stairs(100 * share_K, edges, color=colour, linewidth=1.2)
                mark = plots.mark_of(domain, domains)
                axis.plot(100 * share_K, mark, color=colour, markersize=3.5)
            axis.axhline(100 / count, **CHANCE)
            axis.set_ylabel(f"position {position}\n%")
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylim(bottom=0)
        axes[-1].set_xlabel("code (dashed: all codes equally often)")
        axes[0].set_title("How often each code occurs", loc="left", fontsize=9)
        plots.name_legend(figure, domains)
    return figure


def histograms(density_G, edges, labels, colours, xlabel, title):
    """Outlines of several distributions over the same bins: density_G, a list of arrays [V]."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((plots.WIDTH, 2.4), layout="constrained")
        axis = figure.subplots()
        for density, label, colour in zip(density_G, labels, colours, strict=True):
            axis.stairs(100 * density, edges, label=label, color=colour, linewidth=1.6)
        axis.set(xlabel=xlabel, ylabel="share of pairs, %", xlim=(edges[0], edges[-1]))
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
        axis.set_title(title, loc="left", fontsize=9)
    return figure


def _cells(pictures_RQ):
    for row, pictures in enumerate(pictures_RQ):
        for column, picture in enumerate(pictures):
            if picture is not None:
                yield (row, column), picture


def _bytes(picture):
    picture = np.asarray(picture)
    if picture.dtype == np.uint8:
        return picture
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def _spread(count):
    """Places -1..1 for dots of one row that would lie on each other."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(count)
