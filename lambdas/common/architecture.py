"""What of a language model decides how large it is: read from the config.json of its folder, or from the catalogue of the stacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The files of a folder of weights that say what model it holds, what Preflight may read of them, and the weights without an index.
CONFIGURATION, INDEX, UNDIVIDED = "config.json", "model.safetensors.index.json", "model.safetensors"
TOKENIZER, TOKENIZER_SETTINGS = "tokenizer.json", "tokenizer_config.json"
READ_BY_PREFLIGHT = (CONFIGURATION, INDEX, TOKENIZER, TOKENIZER_SETTINGS)
# The classes of transformers whose layers are those that `Shape` counts, and that tests train and serve at toy size. True where
# query, key and value have a bias.
BIASED_ATTENTION: Mapping[str, bool] = {
    "LlamaForCausalLM": False,
    "MistralForCausalLM": False,
    "Qwen2ForCausalLM": True,
}
BYTES_PER_WEIGHT = 2  # in the 16 bits in which weights are published, trained beside and served


class UnknownShape(ValueError):
    """A configuration does not say how large its model is, or is of another kind than those that are known."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a decoder with gated perceptrons, as Llama, Mistral and Qwen 2 are."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    heads: int
    key_value_heads: int
    head_size: int
    tied_embeddings: bool = False  # the output layer is the embedding once more
    biased_attention: bool = False

    @property
    def parameters(self) -> int:
        """All weights."""
        biases = (self.heads + 2 * self.key_value_heads) * self.head_size if self.biased_attention else 0
        norms = 2 * self.hidden
        embeddings = (1 if self.tied_embeddings else 2) * self.vocabulary * self.hidden
        return self.linear_parameters + self.layers * (biases + norms) + self.hidden + embeddings

    @property
    def weights_bytes(self) -> int:
        """All weights in 16 bits."""
        return BYTES_PER_WEIGHT * self.parameters

    @property
    def linear_parameters(self) -> int:
        """The weights of the layers that get an adapter."""
        return self.layers * sum(inner * outer for inner, outer in self._linear())

    def adapter_parameters(self, rank: int) -> int:
        """The weights of an adapter of this rank on every linear layer but the output layer."""
        return rank * self.layers * sum(inner + outer for inner, outer in self._linear())

    def key_value_bytes(self, tokens: int) -> int:
        """What a server keeps of `tokens` in 16 bits while it answers."""
        return tokens * 2 * self.layers * self.key_value_heads * self.head_size * 2

    def _linear(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of one layer's query, key, value, output, gate, up and down."""
        queries, values = self.heads * self.head_size, self.key_value_heads * self.head_size
        wide = self.intermediate
        return (
            (self.hidden, queries), (self.hidden, values), (self.hidden, values), (queries, self.hidden),
            (self.hidden, wide), (self.hidden, wide), (wide, self.hidden),
        )  # fmt: skip


def shape_of(configuration: Mapping[str, Any]) -> Shape:
    """The shape in a config.json. Raises UnknownShape for another architecture, or where a size is missing or wrong."""
    names = configuration.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    if name not in BIASED_ATTENTION:
        raise UnknownShape(f"its architecture is {name or 'not named'}, not one of {', '.join(BIASED_ATTENTION)}")

    biased = next((key for key in ("attention_bias", "mlp_bias") if configuration.get(key)), None)
    if biased:
        raise UnknownShape(f"its config.json sets {biased}, which Captune does not support")

    def size(key: str, otherwise: int | None = None) -> int:
        value = configuration.get(key)
        value = otherwise if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UnknownShape(f"{key} in its config.json is {value!r}, not a positive whole number")
        return value

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    return Shape(
        layers=size("num_hidden_layers"),
        hidden=hidden,
        intermediate=size("intermediate_size"),
        vocabulary=size("vocab_size"),
        heads=heads,
        key_value_heads=size("num_key_value_heads", heads),
        head_size=size("head_dim", hidden // heads),
        tied_embeddings=configuration.get("tie_word_embeddings") is True,
        biased_attention=BIASED_ATTENTION[name],
    )
