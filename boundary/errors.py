"""What the boundary says when it cannot read what it was given."""


class TableError(ValueError):
    """A table cannot be read at all; the message names table, column, what was found, and the mend."""
