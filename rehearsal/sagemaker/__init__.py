"""A local stand-in for SageMaker and the few AWS services around it that moto does not play.

It is reached by HTTP as the service is, so that deployed Lambdas, a real training container and a real model server run
against it in real time. verification/simulation runs the same control plane in virtual time.
"""
