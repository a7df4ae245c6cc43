"""ALS trained by Spark MLlib and served like any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix

from recsys.models.als import ALS
from recsys.models.base import ModelError, Progress, checked, raised
from recsys.models.factors import Factors, taken
from recsys.on_spark import SparkError, cause, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LEAST_RATING = 1e-6  # MLlib takes a rating of 0 for no rating


@dataclass(frozen=True, kw_only=True)
class SparkALS:
    """ALS whose item vectors Spark MLlib trains; what ``fit`` returns is a plain ``ALS``, served without Spark.

    Two things differ from training here. MLlib's ridge grows with the entries of a row: it is scaled so that the
    pull on the product of both sides is that of ``regularization`` on the average. And MLlib knows no confidence
    below one: less counts as one.

    Attributes:
        als: the unfitted model with its settings.
        master, conf: as in ``recsys.on_spark.session``.
    """

    als: ALS
    master: str
    conf: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        return self.als.name

    @property
    def settings(self) -> dict[str, Any]:
        return self.als.settings

    def fit(self, matrix: csr_matrix, *, seed: int, progress: Progress | None = None) -> ALS:
        """Return the model fitted to users x items (csr float32).

        Raises:
            SparkError: the cluster failed.
            ModelError: see ``checked``.
        """
        matrix = checked(matrix)
        seen = taken(matrix)
        item = np.zeros((matrix.shape[1], self.als.factors), np.float32)
        if seen.any():
            with session(self.master, conf=self.conf) as spark:
                rows, vectors = _train(spark, self.als, matrix, seed)
            if not np.array_equal(rows, np.flatnonzero(seen)):
                raise ModelError(f"Spark trained {len(rows)} items but {int(seen.sum())} were taken")
            item[rows] = vectors * np.float32(_scale(matrix))
        if progress is not None:
            progress(self.als.iterations, self.als.iterations)
        nobody = np.zeros((0, self.als.factors), np.float32)
        draft = replace(self.als, state=Factors.of(item, nobody, seen))
        return replace(self.als, state=Factors.of(item, draft.vectors(matrix), seen))


def _entries_a_row(matrix: csr_matrix) -> tuple[float, float]:
    """Return the mean number of entries of the users, and of the items, that have any."""
    users = np.count_nonzero(np.diff(matrix.indptr))
    return matrix.nnz / users, matrix.nnz / np.count_nonzero(taken(matrix))


def _scale(matrix: csr_matrix) -> float:
    """Return by what MLlib's item vectors are stretched to be solved against under the plain ridge.

    MLlib's optimum has n_u |x|^2 = n_i |y|^2 summed over both sides, the plain ridge's |x|^2 = |y|^2.
    """
    of_user, of_item = _entries_a_row(matrix)
    return float((of_item / of_user) ** 0.25)


def _train(spark: SparkSession, als: ALS, matrix: csr_matrix, seed: int) -> tuple[np.ndarray[Any, Any], Any]:
    """Return the rows MLlib trained, rising, and their vectors, float32."""
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
    from pyspark.ml.recommendation import ALS as MLlib  # noqa: N811

    of_user, of_item = _entries_a_row(matrix)
    confidence = raised(matrix, als.power).data * np.float32(als.alpha)
    table = pa.table(
        {
            "user": np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr)),
            "item": matrix.indices.astype(np.int32),
            "rating": np.maximum(confidence - np.float32(1), np.float32(LEAST_RATING)),
        }
    )
    learner = MLlib(
        rank=als.factors, maxIter=als.iterations, regParam=als.regularization / float(np.sqrt(of_user * of_item)),
        implicitPrefs=True, alpha=1.0, seed=int(seed), userCol="user", itemCol="item", ratingCol="rating",
        checkpointInterval=-1,
    )  # fmt: skip
    try:
        found = learner.fit(spark.createDataFrame(table)).itemFactors.sort("id").toArrow()
    except Exception as error:
        raise SparkError(f"Spark could not train ({cause(error)}); mend it and fit again") from error
    vectors = np.asarray(found["features"].combine_chunks().values, np.float32)
    return found["id"].to_numpy().astype(np.int64), vectors.reshape(-1, als.factors)
