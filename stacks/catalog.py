"""The base models that can be fine-tuned, and where their weights lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """One base model. `parameters` lets the report notice weights that are not the ones planned for."""

    id: str
    name: str
    parameters: int
    context_tokens: int
    weights_prefix: str
    requires_eula: bool

    def weights_uri(self, region: str) -> str:
        """The S3 prefix of the weights (Hugging Face layout) in JumpStart's gated bucket of the region."""
        return f"s3://{gated_bucket(region)}/{self.weights_prefix}"


def gated_bucket(region: str) -> str:
    """JumpStart's bucket of models that need an accepted licence (ModelAccessConfig.AcceptEula)."""
    return f"jumpstart-private-cache-prod-{region}"


def public_bucket(region: str) -> str:
    """JumpStart's bucket of everything else. AWS documents read access to it for every JumpStart model."""
    return f"jumpstart-cache-prod-{region}"


def _llama_2(model_id: str, name: str, jumpstart_id: str) -> BaseModel:
    return BaseModel(
        id=model_id,
        name=name,
        parameters=6_738_415_616,
        context_tokens=4096,
        # v1.1.0 is what JumpStart 4.2.0 to 4.25.0 serve. Pinned: a newer version once moved keys and broke its users.
        weights_prefix=f"meta-textgeneration/{jumpstart_id}/artifacts/inference-prepack/v1.1.0/",
        requires_eula=True,
    )


BASE_MODELS: dict[str, BaseModel] = {
    model.id: model
    for model in (
        _llama_2("llama-2-7b", "Llama 2 7B", "meta-textgeneration-llama-2-7b"),
        _llama_2("llama-2-7b-chat", "Llama 2 7B Chat", "meta-textgeneration-llama-2-7b-f"),
    )
}
