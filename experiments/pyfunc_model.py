"""The scoring function as an MLflow model, from code: a frame of shoppers goes in, a frame of slates comes out.

Logged by path, so this file is all that MLflow runs; what it needs of the packages is beside it.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.pyfunc import PythonModel

if TYPE_CHECKING:
    import pandas as pd

    from recsys.engine import Engine

LEDGER = "CORNERSTORE_LEDGER"
COLUMNS = ("user_id", "position", "item_id", "score", "source", "why", "slate_id", "tier", "policy_digest")
DEFAULTS = {"n": 10, "surface": "home", "intent": "browse", "now": None}


class CornerstoreModel(PythonModel):  # type: ignore[misc]  # mlflow is untyped here
    """Answers what ``Engine.score`` answers, row by row.

    The ledger's address is ``ledger`` of the model's config, or the environment's CORNERSTORE_LEDGER; without one
    nobody can tell what was shown before, and everybody gets the crowd shelf.
    """

    engine: Engine

    def load_context(self, context: Any) -> None:
        """Open the bundle."""
        from recsys.engine import Engine

        told = context.model_config or {}
        ledger = os.environ.get(LEDGER) or told.get("ledger")
        self.engine = Engine.load(context.artifacts["bundle"], ledger=ledger)
        self.reserve = bool(told.get("reserve", True))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """Return one row a slot, for the rows of ``model_input`` in turn.

        Args:
            context: MLflow's.
            model_input: user_id (null is a guest), and where given n, surface, intent and now (ISO 8601 with a zone).
            params: none.
        """
        import pandas as pd

        rows = []
        for asked in model_input.to_dict("records"):
            ask = {name: _given(asked.get(name), default) for name, default in DEFAULTS.items()}
            now = None if ask["now"] is None else dt.datetime.fromisoformat(ask["now"])
            slate = self.engine.score(
                _given(asked.get("user_id"), None), n=int(ask["n"]), surface=ask["surface"], intent=ask["intent"],
                now=now, reserve=self.reserve,
            )  # fmt: skip
            rows += [
                (asked.get("user_id"), place, item.item_id, item.score, item.source, item.why, slate.slate_id,
                 slate.tier, slate.policy_digest)
                for place, item in enumerate(slate.items)
            ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))


def _given(value: Any, default: Any) -> Any:
    """Return a cell's value, the default where it is empty."""
    empty = value is None or value != value  # noqa: PLR0124 (NaN and NaT)
    return default if empty else value


mlflow.models.set_model(CornerstoreModel())
