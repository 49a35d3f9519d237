"""What the command line says in one line and exits 2 for."""


class InputError(Exception):
    """Bad input: the message names the file, key or shape at fault, what was expected, and what to do."""
