"""What Ask, training and the server have to agree on."""

from __future__ import annotations

import pytest

from arguments import LIMITS, Arguments
from stacks.configuration import serving
from stacks.configuration.settings import Settings


def test_the_server_has_room_for_all_that_is_asked_at_once() -> None:
    assert serving.MOST_REQUESTS_AT_ONCE == 2 * serving.REQUESTS_AT_ONCE == 64


@pytest.mark.parametrize(("trained", "served"), [(1, 1), (2, 8), (8, 8), (16, 16), (17, 32), (257, 320), (512, 512)])
def test_the_server_gets_the_next_rank_that_vllm_knows(trained: int, served: int) -> None:
    assert serving.server_lora_rank(trained) == served


@pytest.mark.parametrize("trained", [0, -1, 513])
def test_a_rank_that_vllm_cannot_serve_is_refused_before_it_is_trained(trained: int) -> None:
    with pytest.raises(ValueError, match="train a smaller rank"):
        serving.server_lora_rank(trained)


def test_the_rank_that_is_trained_by_default_is_the_rank_that_is_served() -> None:
    assert Arguments.lora_rank == Settings().lora_rank
    assert serving.server_lora_rank(int(LIMITS["lora_rank"][1])) >= LIMITS["lora_rank"][1]
