"""One record, whatever file it came from, in the one form that training reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"
ROLES = (SYSTEM, USER, ASSISTANT)
# What stands between a prompt and its completion where the file has no blank there.
JOINT = " "


@dataclass(frozen=True)
class Record:
    """A prompt and its completion, or a conversation of (role, text) that ends with an answer.

    A prompt has no white space at its end and a completion has it at its start: so tokenizers find the same tokens in a prompt alone,
    as the endpoint is asked it, and before its answer.
    """

    id: str
    group: str  # records of one group stay on one side of the split
    named_group: bool  # by the file; else the record is a group of its own
    line: int
    prompt: str = ""
    completion: str = ""
    turns: tuple[tuple[str, str], ...] = ()

    @property
    def is_conversation(self) -> bool:
        """Whether it needs the model's chat template."""
        return bool(self.turns)

    @property
    def answers(self) -> list[str]:
        """What is learnt of it, and scored where it is held out."""
        return [text for role, text in self.turns if role == ASSISTANT] if self.turns else [self.completion.strip()]

    @property
    def reference(self) -> str:
        """The last answer: the one that both models are asked for."""
        return self.answers[-1]

    @property
    def texts(self) -> list[str]:
        """All that it says, in order."""
        return [text for _, text in self.turns] if self.turns else [self.prompt, self.completion.strip()]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.texts)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation as chat templates and servers take it."""
        return [{"role": role, "content": text} for role, text in self.turns]

    def as_entry(self) -> dict[str, Any]:
        """The line of a training channel."""
        named = {"id": self.id, "group": self.group}
        if self.turns:
            return {**named, "messages": self.messages}
        return {**named, "prompt": self.prompt, "completion": self.completion}


def of_pair(prompt: str, completion: str) -> tuple[str, str]:
    """A prompt and a completion with the white space between them on the completion's side, or a blank where there is none."""
    bare = prompt.rstrip()
    between = prompt[len(bare) :] + completion[: len(completion) - len(completion.lstrip())]
    return bare, (between or JOINT) + completion.strip()
