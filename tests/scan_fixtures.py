"""Scanning tiny sets and looking at their tables, for the tests of the scan."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from array_record.python import array_record_data_source
from pipeline_fixtures import write

from input_pipeline import keys, rlds
from input_pipeline.errors import DataError
from input_pipeline.scan import scan
from input_pipeline.table import EPISODE_COLUMNS, STEP_COLUMNS

COLUMNS = (*EPISODE_COLUMNS, *STEP_COLUMNS)
STORAGES = ("tfrecord", "array_record")
IMAGE = "steps/observation/image"


def scanned(folder, on_corrupt="error", split="", held=None, options=None, **changes):
    """The table of a folder by the rules; `changes` are of its keys, `options` of the finding."""
    episode_set = rlds.open_set(str(folder), split)
    chosen = dict.fromkeys(keys.OPTIONS, "") | (options or {})
    found = keys.find(episode_set.fields, chosen, "tiny", held=held and episode_set.keys)
    return scan(episode_set, dataclasses.replace(found, **changes), on_corrupt)


def complaint(*args, **changes):
    """The one-line message that a scan ends with."""
    with pytest.raises(DataError) as caught:
        scanned(*args, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_same(one, other, without=()):
    """The tables are equal but for these columns."""
    for name in COLUMNS:
        if name not in without:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.texts == other.texts


def rows(table, places):
    """{column: list of what it holds of these episodes}, texts in place of their numbers."""
    steps = [slice(*table.first[place : place + 2]) for place in places]
    found = {name: getattr(table, name)[places].tolist() for name in EPISODE_COLUMNS}
    found |= {name: [getattr(table, name)[s].tolist() for s in steps] for name in STEP_COLUMNS}
    found["text_id"] = [[table.texts[i] for i in ids] for ids in found["text_id"]]
    return found


def images(folder, table):
    """Every encoded image, read from where the table says: list of bytes."""
    files = rlds.open_set(str(folder)).files
    found = []
    for place in range(len(table)):
        if table.offset[place]:
            stored = Path(files[table.file[place]]).read_bytes()[table.offset[place] :]
        else:
            source = array_record_data_source.ArrayRecordDataSource(files[table.file[place]])
            stored = source[int(table.record[place])]
        stored = stored[: table.length[place]]
        for step in range(*table.first[place : place + 2]):
            start = table.frame_offset[step]
            found.append(stored[start : start + table.frame_length[step]])
    return found


def write_lists(folder, flat, *args, **options):
    """`write` of episodes of which some lists are empty."""
    kinds = {IMAGE: b"", "steps/language_instruction": b""}
    return write(
        folder,
        [{k: v if len(v) else Empty([kinds.get(k, 0.0)]) for k, v in one.items()} for one in flat],
        *args,
        **options,
    )


class Empty(list):
    """A list that is empty, and whose first element tells of what."""

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 0
