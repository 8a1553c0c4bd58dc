"""The one exception for bad input."""


class TerraprobeError(Exception):
    """Bad input, explained to a person.

    The message says what was found, where, what is allowed and what to do next. The command line prints it
    without a traceback and exits with status 1.
    """
