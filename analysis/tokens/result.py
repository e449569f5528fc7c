"""What an analysis says, and how it is kept: numbers, tables, pictures and plain words."""

import csv
import dataclasses
import json
import math
import pathlib

from lam import plots
from lam.workdir import write_whole


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number that supports a claim.

    Attributes:
      value: of the data.
      low, high: its 95 % interval over episodes.
      null: mean of the same number where tokens say nothing, by permutation of episodes.
      p: share of permutations at least as extreme.
      unit: of the value, "" for shares.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    null: float = math.nan
    p: float = math.nan
    unit: str = ""

    def __str__(self):
        unit = f" {self.unit}" if self.unit else ""
        bounds = f" [{self.low:.2f}, {self.high:.2f}]" if math.isfinite(self.low) else ""
        null = f", by chance {self.null:.2f}" if math.isfinite(self.null) else ""
        p = f", p = {self.p:.3f}" if math.isfinite(self.p) else ""
        return f"{self.value:.2f}{unit}{bounds}{null}{p}"


@dataclasses.dataclass(frozen=True)
class Result:
    """All that one analysis found; where nothing can be said, `missing` says why.

    Attributes:
      question: what is asked, one sentence.
      reading: what came out, one plain sentence with the headline number.
      how: how to read figures and numbers, a paragraph or two, for the README of the folder.
      headline: Estimate, or None where none can be made.
      numbers: {name: number, string, bool, None, list or dict of such} beside, for metrics.json;
        Estimates are written as dicts.
      tables: {name: list of {column: value}}, each a CSV.
      figures: {name: matplotlib Figure}; a name may begin with a folder, "token_3-1-2/samples".
      missing: plain sentences, one for each thing that could not be made.
      jsons: {name: dict} beside, each a JSON file; a name may begin with a folder.
    """

    question: str
    reading: str
    how: str
    headline: Estimate | None = None
    numbers: dict = dataclasses.field(default_factory=dict)
    tables: dict = dataclasses.field(default_factory=dict)
    figures: dict = dataclasses.field(default_factory=dict)
    missing: tuple = ()
    jsons: dict = dataclasses.field(default_factory=dict)


def nothing(question, how, sentence, numbers=None, figures=None):
    """The Result of an analysis that cannot be made, and why."""
    reading = f"Nothing can be said. {sentence}"
    return Result(
        question, reading, how, numbers=numbers or {}, figures=figures or {}, missing=(sentence,)
    )


def write(result, folder):
    """Writes a Result as metrics.json, README.md, one CSV a table, PNG and SVG of each figure."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "metrics.json", to_json(metrics(result)))
    write_whole(folder / "README.md", readme(result, folder.name))
    for name, rows in result.tables.items():
        write_table(folder / f"{name}.csv", rows)
    for name, found in result.jsons.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{name}.json", to_json(found))
    for name, figure in result.figures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for kind in ("png", "svg"):
            plots.save(figure, folder / f"{name}.{kind}")


def metrics(result):
    """All of a Result that is numbers or words, and the names of its files without suffixes."""
    words = ("question", "reading", "how", "headline", "numbers", "missing")
    names = {"tables": list(result.tables), "figures": list(result.figures)}
    return {key: getattr(result, key) for key in words} | names


def to_json(value):
    """Sorted, indented JSON, the same bytes for the same value; what is not finite becomes null."""
    return json.dumps(plain(value), indent=2, sort_keys=True, allow_nan=False) + "\n"


def plain(value):
    """A value of dicts, lists, dataclasses, numpy and Python numbers as JSON can say it."""
    if dataclasses.is_dataclass(value):
        return plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0):
        return [plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def readme(result, name):
    """README.md of the folder `name`: what is asked, what came out, how to read it."""
    lines = [f"# {name}", "", result.question, "", f"**{result.reading}**", "", result.how]
    if result.missing:
        lines += ["", "Not made:", "", *(f"- {sentence}" for sentence in result.missing)]
    if result.headline is not None:
        lines += ["", f"Headline: {result.headline}"]
    return "\n".join(lines) + "\n"


def write_table(path, rows):
    """A list of dicts as CSV; floats with six significant digits, so that files can be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)


def cell(value):
    """A value as a CSV says it."""
    value = value.item() if hasattr(value, "item") else value
    return f"{value:.6g}" if isinstance(value, float) else value
