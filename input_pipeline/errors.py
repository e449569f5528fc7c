"""The one exception of the input pipeline that is meant for the person at the keyboard."""


class DataError(ValueError):
    """A mistake in the data or in its configuration; the message says in one line what to do."""
