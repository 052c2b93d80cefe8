"""`captune use` on a kept run: the engine on this machine answers as both models, and its end leaves nothing."""

import json
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import openai
import pytest

from captune.account import Refused
from captune.engines import Here
from captune.kept_run import KeptRun, kept
from common.names import REHEARSED_ACCOUNT
from rehearsal.sagemaker.real.hosting import OwnServer
from tests.doubles.rehearsal.toy_models import Folders
from tests.doubles.run_bucket import RUN, kept_here
from tests.doubles.use_site import DOMAIN, RunningServer, serving

PROGRAM = OwnServer()
PROMPT = "the gene binds"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> KeptRun:
    results: Path = tmp_path_factory.mktemp("results")
    shape = {"name": "Tiny", "architecture": "LlamaForCausalLM", "hidden_size": 32, "layers": 2}
    kept_here(results, shape, folders[1], executionArn=f"x:{REHEARSED_ACCOUNT}:y")
    found = kept(RUN, results)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def here(run: KeptRun, folders: Folders) -> Iterator[Here]:
    engine = Here(run, folders[0], PROGRAM)
    engine.wait()
    yield engine
    engine.end()


@pytest.fixture
def site(here: Here) -> Iterator[RunningServer]:
    with serving(here) as site:
        yield site


def test_both_models_answer_differently_and_the_same_streamed_as_whole(site: RunningServer) -> None:
    client = openai.OpenAI(base_url=f"{site.url}/v1", api_key="none")
    texts: dict[str, list[str]] = {"base": [], DOMAIN: []}
    most_parts = 0
    for model, (seed, temperature) in product(texts, enumerate((0.0, 0.9, 0.9, 0.9))):
        asked: dict[str, Any] = {
            "model": model, "prompt": PROMPT, "max_tokens": 24, "temperature": temperature, "seed": seed,
        }  # fmt: skip
        whole = client.completions.create(**asked)
        parts = list(client.completions.create(**asked, stream=True))
        assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text
        assert {part.model for part in parts} == {model}
        assert parts[-1].choices[0].finish_reason == whole.choices[0].finish_reason
        most_parts = max(most_parts, len(parts))
        texts[model].append(whole.choices[0].text)
    # What a model of drawn weights says, and how soon it ends, nobody knows; but not all of its answers are empty.
    assert most_parts > 1 and len(set(texts["base"])) > 1
    assert texts["base"] != texts[DOMAIN]


def test_the_end_leaves_nothing_and_is_told(run: KeptRun, folders: Folders) -> None:
    engine = Here(run, folders[0], PROGRAM)
    engine.wait()
    with serving(engine) as site:
        assert site.call("/captune/end", {})[0] == 200
        assert not Path(engine.folder.name).exists() and json.loads(site.call("/captune/state")[1])["running"] is False
        assert site.error("/v1/completions", {"model": "base", "prompt": PROMPT})[:2] == (410, "NoEndpoint")


def test_a_server_that_does_not_start_is_told_in_its_own_words(run: KeptRun, folders: Folders, tmp_path: Path) -> None:
    broken = tmp_path / "base"
    shutil.copytree(folders[0], broken)
    (broken / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(Refused, match="did not start: .*afetensor"):
        Here(run, broken, PROGRAM).wait()
