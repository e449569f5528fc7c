"""A remote store made of a local folder, for tests: gs://bucket/x is FOLDER/x."""

import contextlib
from unittest import mock

from etils.epath import backend, gpath

BUCKET = "gs://bucket"


class FolderAsBucket(backend._OsPathBackend):
    """What reading needs of etils' backends; notes its calls, refuses patterns."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.calls = []

    def _local(self, path, call):
        assert str(path).startswith(BUCKET), path
        self.calls.append((call, str(path)))
        return self.folder + str(path).removeprefix(BUCKET)

    def open(self, path, mode):
        return super().open(self._local(path, "open"), mode)

    def exists(self, path):
        return super().exists(self._local(path, "exists"))

    def isdir(self, path):
        return super().isdir(self._local(path, "isdir"))

    def listdir(self, path):
        return super().listdir(self._local(path, "listdir"))

    def glob(self, path):
        raise AssertionError(f"{path}: patterns list a whole bucket")

    def stat(self, path):
        return super().stat(self._local(path, "stat"))


@contextlib.contextmanager
def bucket(folder):
    """Within it gs://bucket holds what `folder` holds; yields the FolderAsBucket."""
    store = FolderAsBucket(folder)
    with (
        mock.patch.dict(gpath._PREFIX_TO_BACKEND, gs=store),
        mock.patch.object(gpath, "_is_tf_installed", return_value=False),
    ):
        yield store
