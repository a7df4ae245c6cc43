"""The models that propose: one protocol, several ways to answer it."""

from recsys.models.base import (
    Affine,
    Contributions,
    ModelError,
    Moments,
    Recommender,
    TopK,
    Trace,
)

__all__ = ["Affine", "Contributions", "ModelError", "Moments", "Recommender", "TopK", "Trace"]
