"""A local stand-in for SageMaker and the few AWS services around it that moto does not play.

with StandIn(folder, s3_endpoint=url, training=FakeTraining(), hosting=FakeHosting()) as standin:
    os.environ.update(standin.environment())
"""

from .engines import Answer, Context, HostingEngine, TrainingEngine
from .fake_hosting import FakeHosting, HostingPlan
from .fake_training import FakeTraining, TrainingPlan
from .faults import Call, Fault, Faults
from .market import Price, Quota
from .standin import StandIn

__all__ = [
    "Answer",
    "Call",
    "Context",
    "FakeHosting",
    "FakeTraining",
    "Fault",
    "Faults",
    "HostingEngine",
    "HostingPlan",
    "Price",
    "Quota",
    "StandIn",
    "TrainingEngine",
    "TrainingPlan",
]
