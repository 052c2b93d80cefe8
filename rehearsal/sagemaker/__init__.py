"""A local stand-in for SageMaker and the few AWS services around it that moto does not play.

It is reached by HTTP as the service is, so that deployed Lambdas, a real training container and a real model server run
against it in real time. Where no real time is needed, verification/simulation plays SageMaker in virtual time.

with StandIn(folder, s3_endpoint=url, training=FakeTraining(), hosting=FakeHosting()) as standin:
    os.environ.update(standin.environment())
"""

from .api.faults import Call, Fault, Faults
from .api.market import Price, Quota
from .engines import Answer, Context, HostingEngine, TrainingEngine
from .standin import StandIn

__all__ = [
    "Answer", "Call", "Context", "Fault", "Faults", "HostingEngine", "Price", "Quota", "StandIn", "TrainingEngine",
]  # fmt: skip
