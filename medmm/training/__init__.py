"""Fitting a model to a cohort; the product is a model folder that `medmm.inference` can load."""

from medmm.training.config import TrainConfig
from medmm.training.train import train

__all__ = ["TrainConfig", "train"]
