"""What minires raises about tensors, graphs and files; an option out of range is a plain ValueError.

Every text names the offending value, what was expected, and what to do about it.

A text writes the name of an argument in backticks, `batch_size`; the command shows the option that was typed in its
place, --batch-size.

Each class is also the built-in error that a NumPy user would expect in its place, so ``except ValueError``
goes on working.
"""

DISTRIBUTION = "minires-net"  # the name for pip; `minires` on PyPI is another project


def install_command(extra: str) -> str:
    """Return the command that installs an extra of this package, for messages that say what is missing."""
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
    """The computation graph cannot answer: used twice, changed since, or never recorded."""


class CheckpointError(MiniresError, ValueError):
    """A checkpoint is missing, damaged, or does not fit the model."""


class DataError(MiniresError, ValueError):
    """A data file is missing, truncated or foreign, or a label is out of range."""


class SettingsError(MiniresError, ValueError):
    """A setting of a training run is impossible, or contradicts the run that it resumes."""


class TrainingError(MiniresError, ArithmeticError):
    """Training cannot go on: the loss is no longer finite."""
