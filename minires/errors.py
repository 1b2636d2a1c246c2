"""The errors that minires raises about tensors, graphs and files. An option out of range is a plain ValueError.

Every message names the wrong value, says what was expected, and tells what to do.

A message writes the name of an argument in backticks, `batch_size`. The command line replaces it by the option that
the user typed, --batch-size.

Each class also derives from the built-in error that a NumPy user expects, so ``except ValueError`` still works.
"""

DISTRIBUTION = "minires-net"  # the name for pip; `minires` on PyPI is another project


def install_command(extra: str) -> str:
    """Return the command that installs an extra of this package, for messages about a missing package."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


class MiniresError(Exception):
    """Base class of all errors raised by minires."""


class ShapeError(MiniresError, ValueError):
    """Shapes, sizes or window geometry do not fit together."""


class IndexingError(MiniresError, IndexError):
    """An index is out of range, or does not fit the shape."""


class DtypeError(MiniresError, TypeError):
    """A dtype is not supported here, or two float dtypes were mixed."""


class DeviceError(MiniresError, RuntimeError):
    """A device does not exist, is not available, or two devices were mixed."""


class GraphError(MiniresError, RuntimeError):
    """The computation graph cannot be used: it was used before, a saved value changed, or nothing was recorded."""


class CheckpointError(MiniresError, ValueError):
    """A checkpoint is missing, damaged, or does not fit the model."""


class DataError(MiniresError, ValueError):
    """A data file is missing, truncated or of another format, or a label is out of range."""


class SettingsError(MiniresError, ValueError):
    """A setting of a training run is impossible, or contradicts the run that it resumes."""


class TrainingError(MiniresError, ArithmeticError):
    """Training cannot go on: the loss is no longer finite."""
