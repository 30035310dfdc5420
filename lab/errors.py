"""The one exception this program shows to its user."""


class LabError(Exception):
    """A fault the user can act on: one or two sentences, cause and fix.

    ``__main__`` prints it to stderr and exits with 1; anything else is a bug and keeps its trace.
    """
