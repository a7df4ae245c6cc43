"""Which errors a command ends with as one line: everything a user can mend, nothing that is a fault of ours."""

from boundary.candidates import CandidateError
from boundary.cases import CaseError
from boundary.errors import TableError
from boundary.ledger.base import LedgerError
from boundary.policy import PolicyError
from recsys.batch_files import BatchError
from recsys.bundle import BundleError
from recsys.engine import EngineError
from recsys.forgetting import ForgottenError
from recsys.interactions import InteractionError
from recsys.models import ModelError
from recsys.on_spark import SparkError
from recsys.registered import RegisteredError

MENDABLE = (
    BatchError,
    BundleError,
    CandidateError,
    CaseError,
    EngineError,
    ForgottenError,
    InteractionError,
    LedgerError,
    ModelError,
    OSError,
    PolicyError,
    RegisteredError,
    SparkError,
    TableError,
)
