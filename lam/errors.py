"""The one exception of `lam` that is meant for the person at the keyboard."""


class UserError(ValueError):
    """A mistake in the configuration or its use; the message is one line that says what to do."""
