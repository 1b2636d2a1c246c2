"""Train a network, resume the run bit for bit, and use its checkpoints."""

from minires.train.evaluation import Evaluation, evaluate
from minires.train.interrupt import Interrupted
from minires.train.loading import describe, load
from minires.train.loop import Result, train
from minires.train.prediction import predict
from minires.train.settings import Settings

__all__ = ["Evaluation", "Interrupted", "Result", "Settings", "describe", "evaluate", "load", "predict", "train"]
