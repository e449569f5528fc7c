"""Parts of the report as HTML: numbers, tables, pictures and the page around them.

All text is escaped here. Rows and figures carry what they are about, `data-domains` and
`data-tokens`, which the filters of the page read.
"""

import base64
import html
import io
import math
import pathlib
import re
import string

from PIL import Image

from lam import plots

PAGE = pathlib.Path(__file__).parent / "page"
DASH = "\N{EN DASH}"
MARKS = dict(zip(plots.MARKERS, "●■◆▲▼✚★✖", strict=True))
SEQUENCE = re.compile(r"\d+(-\d+)+")
ROWS = 300  # of a table on the page
SHORT = 20  # rows that are shown without scrolling
SVG_BYTES = 120_000  # a larger drawing is shown as the PNG of it


class Link(str):
    """Text of a cell that leads to a place of the page."""

    def __new__(cls, text, place):
        made = super().__new__(cls, text)
        made.place = place
        return made


def page(**parts):
    """The whole page; `parts` are the fields of page.html, HTML except `title`."""
    files = {name: (PAGE / file).read_text() for name, file in
             (("style", "style.css"), ("script", "script.js"))}  # fmt: skip
    template = string.Template((PAGE / "page.html").read_text())
    return template.substitute(files | parts | {"title": escape(parts["title"])})


def escape(value):
    return html.escape(str(value), quote=True)


def tag(element, /, *inner, **attributes):
    """<element ...>inner</element>; attributes are escaped, the inner HTML is not.

    An underscore at the end of an attribute's name is left out, others become hyphens; what is None
    is left out.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{element}{said}>{''.join(inner)}</{element}>"


def number(value):
    """A number for people: three digits that count; a dash for what is not known."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    text = f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def parsed(text):
    """A cell of a CSV: a number where it says one, None where it is empty or "nan", else text."""
    if text is None or text.strip() in ("", "nan", "inf", "-inf"):
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def mark(domain, domains):
    """The colour and mark of a domain, as in the figures; nothing for other names."""
    if domain not in domains:
        return ""
    shape, colour = MARKS[plots.mark_of(domain, domains)], plots.colour_of(domain, domains)
    return tag("span", shape, class_="mark", style=f"color:{colour}", aria_hidden="true")


def about(values, domains, columns=None):
    """The filters' attributes of a row or figure that names these domains, sets or sequences."""
    sets = {name.split("/")[0] for name in domains}
    found = [str(value) for value in values if str(value) in {*domains, *sets}]
    tokens = [str(value) for value in values if SEQUENCE.fullmatch(str(value))]
    if columns and not tokens:  # sequences of one token look like numbers
        tokens = [str(row) for name, row in zip(columns, values, strict=True) if name == "tokens"]
    return {"data_domains": "\n".join(dict.fromkeys(found)) or None,
            "data_tokens": "\n".join(dict.fromkeys(tokens)) or None}  # fmt: skip


def table(rows, caption, domains=(), file=None):
    """A table that can be sorted and filtered, in a box that scrolls.

    Args:
      rows: [{column: number, text or None}]; a text that begins with "<" is escaped as any other.
      caption: what it shows, for screen readers.
      file: name of the CSV that has all rows.
    """
    if not rows:
        return tag("p", "The table has no rows.", class_="note")
    columns = list(rows[0])
    kinds = {column: _kind([row[column] for row in rows]) for column in columns}
    heads = "".join(
        tag("th", tag("button", escape(column.replace("_", " ")), type="button"),
            scope="col", class_=kinds[column])
        for column in columns
    )  # fmt: skip
    body = "".join(
        tag("tr", *(_cell(row[column], kinds[column], domains) for column in columns),
            **about(row.values(), domains, columns))
        for row in rows[:ROWS]
    )  # fmt: skip
    head = tag("thead", tag("tr", heads))
    empty = tag("p", "No row is about what the filters ask for.", class_="empty")
    scrolls = "scroll" if len(rows) > SHORT else "scroll short"
    box = tag("div", tag("table", head, tag("tbody", body)), empty, class_=scrolls,
              tabindex="0", role="region", aria_label=caption)  # fmt: skip
    cut = f"{ROWS} of {len(rows):,} rows. " if len(rows) > ROWS else ""
    where = f"All numbers: {tag('code', escape(file))}" if file else ""
    return box + (tag("p", cut, where, class_="note") if cut or where else "")


def _kind(values):
    """Class of a column: number, words (long text) or None."""
    if all(value is None or isinstance(value, (int, float)) for value in values):
        return "number"
    return "words" if max(len(str(value)) for value in values) > 40 else None


def _cell(value, kind, domains):
    if isinstance(value, Link):
        return tag("td", tag("a", escape(value), href=value.place), class_=kind)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        known = value is not None and math.isfinite(value)
        return tag("td", number(value), class_=kind, data_value=repr(value) if known else None)
    return tag("td", mark(value, domains), escape(value), class_=kind)


def figure(source, size, caption, alt, domains=()):
    """A picture that opens large. `source` is a data URI, `size` its pixels (width, height)."""
    width, height = size
    image = f'<img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}" '
    button = tag("button", image + 'loading="lazy" decoding="async">', type="button",
                 aria_label=f"Enlarge: {caption}")  # fmt: skip
    wide = "wide" if width > 800 or width > 2.2 * height else None
    parts = [f"_{part}" for part in caption.split("/")]
    named = [name for name in domains for part in parts if part.endswith("_" + plots.last(name))]
    tokens = [part.removeprefix("_token_") for part in parts]
    return tag("figure", button, tag("figcaption", escape(caption.replace("_", " "))),
               class_=wide, **about([*named, *tokens], domains))  # fmt: skip


def embedded(png, most=1500, quality=87):
    """(data URI, (width, height)) of a figure: its SVG if that is small, else JPEG or PNG.

    Args:
      png: path of the PNG; the SVG is beside it.
      most: pixels of the width; wider pictures are made smaller.
      quality: of the JPEG, which is taken where it is much smaller, that is for photos.
    """
    svg = png.with_suffix(".svg")
    with Image.open(png) as opened:
        image = opened.convert("RGB")
    if svg.exists() and svg.stat().st_size < SVG_BYTES and b"<image" not in svg.read_bytes():
        return uri("svg+xml", svg.read_bytes()), image.size
    data = png.read_bytes()
    if image.width > most:
        size = most, round(image.height * most / image.width)
        image = image.resize(size, Image.Resampling.LANCZOS)
        data = _encoded(image, "png", optimize=True)
    photo = _encoded(image, "jpeg", quality=quality)
    if len(photo) < 0.6 * len(data):
        return uri("jpeg", photo), image.size
    return uri("png", data), image.size


def _encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def uri(kind, data):
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def span(estimate):
    """A small drawing of a number: dot, interval, and a rhombus where chance would be."""
    known = [estimate[key] for key in ("value", "low", "high", "null") if estimate[key] is not None]
    if estimate["value"] is None or len(known) < 2:
        return ""
    share = not estimate["unit"] and min(known) >= -1 and max(known) <= 1
    low, high = min(0, *known), max(1 if share else 0, *known)
    place = lambda value: 8 + 224 * (value - low) / ((high - low) or 1)  # noqa: E731
    parts = ['<line x1="8" x2="232" y1="14" y2="14" stroke="currentColor" opacity=".45"/>']
    if estimate["low"] is not None and estimate["high"] is not None:
        ends = f'x1="{place(estimate["low"]):.1f}" x2="{place(estimate["high"]):.1f}"'
        parts.append(f'<line class="span" {ends} y1="14" y2="14"/>')
    if estimate["null"] is not None:
        parts.append(f'<path class="null" d="M{place(estimate["null"]):.1f} 8l5 6l-5 6l-5-6z"/>')
    parts.append(f'<circle class="dot" cx="{place(estimate["value"]):.1f}" cy="14" r="4.5"/>')
    for value, anchor, x in ((low, "start", 8), (high, "end", 232)):
        parts.append(f'<text x="{x}" y="32" text-anchor="{anchor}">{number(float(value))}</text>')
    return tag("svg", *parts, class_="range", viewBox="0 0 240 34", aria_hidden="true")
