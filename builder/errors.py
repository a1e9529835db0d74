"""The errors of this project: one small tree, caught once, in cli.py."""


class WimError(Exception):
    """The data or the environment is at fault. The message is one clear line."""


class ParamsError(WimError):
    """A parameter is unknown, of the wrong type or out of range."""


class TableError(WimError):
    """A table is missing, damaged or not as its schema says."""


class InputError(WimError):
    """Somebody's input file cannot be used."""


class StorageError(WimError):
    """A URL cannot be read or written."""


class EngineError(WimError):
    """An engine cannot do what is asked of it."""


class UsageError(WimError):
    """The command line asks for something that does not exist."""
