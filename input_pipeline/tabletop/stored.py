"""What a tabletop set on disk says of its episodes, enough to make each of them anew."""

from input_pipeline import example

METADATA = ("domain", "scene", "seed", "steps", "camera_jitter")


def known(source):
    """Whether a `sources.Source` is a tabletop set as it was generated."""
    there = all(_key(name) in source.episode_set.fields for name in METADATA)
    return there and source.episode_set.name == "tabletop"


def metadata(source, place):
    """The `episode_metadata` of an episode, by its place in the source's table, as
    `tabletop.episode_from_metadata` takes it."""
    table = source.table
    path = source.episode_set.files[table.file[place]]
    if source.episode_set.storage == "tfrecord":
        with open(path, "rb") as file:
            file.seek(int(table.offset[place]))
            record = file.read(int(table.length[place]))
    else:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        record = ArrayRecordDataSource([path])[int(table.record[place])]
    found = example.entries(record, 0, len(record))
    values = {}
    for name in METADATA:
        entry = found[_key(name)]
        read = example.texts if entry.kind == "bytes" else example.numbers
        values[name] = read(record, entry)[0]
    return values


def _key(name):
    return f"episode_metadata/{name}"
