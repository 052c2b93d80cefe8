"""The rehearsal's own model server: transformers and PEFT behind the contract of SageMaker's vLLM container."""
