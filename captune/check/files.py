"""`captune check FILE`: what a run would report about your files, by Preflight's own reader, before anything is synthesized or uploaded."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, cast

from captune.account import Refused
from captune.data import DATA
from common.errors import CaptuneError, ChatTemplateMissing, DatasetRejected, PromptsRejected
from common.storage import Fetched, Storage
from common.text import count_words
from preflight import staging
from preflight.model import catalogued, most_bytes_learned
from preflight.request import Request
from preflight.texts import forms, held_out, outside_text, prompts, text_file, training
from preflight.texts.text_file import Files
from preflight.texts.training import Material
from rehearsal import user_files
from rehearsal.programs import as_typed
from report.formatting import plural
from stacks.configuration.settings import Settings
from stacks.definitions import run_settings


@dataclass(frozen=True)
class Given:
    """Your files, and the names of their columns."""

    corpus: Path | None = None
    held_out: Path | None = None
    outside: Path | None = None
    prompts: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


class Folder:
    """Files of this machine instead of a bucket, by the names that Preflight gives them."""

    bucket = "this machine"

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def fetch(self, key: str, most_bytes: int, version: str = "") -> Fetched | None:
        """See `common.storage.Storage`."""
        path = self._files[key]
        content = user_files.read(path, most_bytes)
        return Fetched(len(content), "", content)


def faults_of(given: Given, settings: Settings) -> tuple[list[CaptuneError], list[str]]:
    """What a run with these settings would refuse the files for, and else what it would make of them, in sentences."""
    faults: list[CaptuneError] = []

    def attempt(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except CaptuneError as fault:
            faults.append(fault)
            return None

    told = attempt(lambda: list(_sentences(given, settings, attempt)))
    return faults, told or []


def _sentences(given: Given, settings: Settings, attempt: Callable[[Callable[[], Any]], Any]) -> Iterator[str]:
    if given.corpus is None:
        # They go beside the project's own corpus: whether they share text with it is looked for by the run.
        alone = (given.outside, outside_text.read, "document"), (given.prompts, prompts.parse, "prompt")
        for path, read, kind in alone:
            if path is not None:
                content = attempt(partial(user_files.read, path, text_file.MOST_BYTES))
                found: Any = content and attempt(partial(read, content, str(path)))
                yield from [f"{path} can be used: {plural(len(found), kind)}."] if found else []
        return
    of_run = run_settings(settings)
    paths = {_key(path): path for path in (given.corpus, given.held_out, given.outside, given.prompts) if path}
    request = Request(
        corpus=_key(given.corpus), held_out=_key(given.held_out) or None, held_outside=_key(given.outside) or None,
        prompts=_key(given.prompts) or None, columns=dict(given.columns),
    )  # fmt: skip
    model = catalogued(of_run)
    most = settings.corpus_words, most_bytes_learned(of_run, request, model)
    data = {path.name: path.read_bytes() for path in DATA.glob("control.txt")}
    files = Files(cast(Storage, Folder(paths)), data, settings.domain, {}, *most, attempt=attempt)
    material: Material | None = attempt(lambda: staging.read_material(files, request))
    if material is None:
        return
    yield material.described or _text_described(given.corpus)
    ending = suffix if forms.are_rows(suffix := given.corpus.suffix.lower()) else ".txt"
    if given.corpus.suffix != ending:
        yield f"A run on AWS knows a file by its ending: upload this one as {given.corpus.stem}{ending}."
    yield _learned(given.corpus, material)
    if given.outside:
        yield material.outside_told
    yield from material.warnings + prompts.too_long_for(material.prompts, model.served_tokens)
    yield from attempt(lambda: training.refuse_unlearnable_records(material.training, model, of_run)) or []


def _key(path: Path | None) -> str:
    """What the file is called in a message, empty for none; rows are known by their ending, in lower case."""
    name, suffix = str(path or ""), path.suffix if path else ""
    lowered = name[: len(name) - len(suffix)] + suffix.lower()
    return lowered if forms.are_rows(lowered) else name


def _text_described(corpus: Path) -> str:
    """What running text was recognised as."""
    text = text_file.without_note(text_file.decode(user_files.read(corpus, text_file.MOST_CORPUS_BYTES), str(corpus)))
    titled = [part for part in text_file.documents(text, "") if part.title]
    if titled:
        return f"{corpus} is text: {plural(len(titled), 'document')} under `# Title` lines."
    lines = "in a single line, which is cut at the ends of sentences" if "\n" not in text.strip() else "of paragraphs"
    return f"{corpus} is text without `# Title` lines, {lines}."


def _learned(corpus: Path, material: Material) -> str:
    passages = held_out.are_passages(material.held_out)
    kind = "group" if material.training[0].records else "passage" if passages else "document"
    measured = sum(count_words(part.text) for part in material.held_out)
    return (
        f"{corpus} can be used: a run trains on {material.words:,} words in {plural(len(material.training), kind)}, holds out {measured:,} words in "
        f"{plural(len(material.held_out), kind)}, and asks {plural(len(material.prompts), 'prompt')}"
        + (f" and scores {plural(len(material.choices), 'item')} to choose from." if material.choices else ".")
    )


def paragraphs(faults: list[CaptuneError], given: Given) -> list[str]:
    """Each fault by its name and its sentence, and at the end what to do."""
    options = {"--held-out": given.held_out, "--outside": given.outside, "--prompts": given.prompts}
    words = [str(given.corpus or ""), *(word for name, path in options.items() if path for word in (name, str(path)))]
    again = f"Correct it, and check again: captune check {shlex.join(filter(None, words))}"
    advice = dict.fromkeys(again if _is_of_the_file(one) else one.advice for one in faults)
    return [*(f"{type(one).__name__}: {one}" for one in faults), " ".join(advice)]


def _is_of_the_file(fault: CaptuneError) -> bool:
    """Whether another file is all that is needed: nothing was uploaded or started yet."""
    return isinstance(fault, DatasetRejected | PromptsRejected) and not isinstance(fault, ChatTemplateMissing)


def named(columns: str) -> dict[str, str]:
    """What the columns are called, from the command line. Raises Refused."""
    rule = next(field_.metadata["rule"] for field_ in fields(Request) if field_.name == "columns")
    with suppress(ValueError):
        if rule.holds(found := json.loads(columns)):
            return dict(found)
    raise Refused(f"--columns must {rule.words}, such as {json.dumps({'prompt': 'question', 'completion': 'answer'})}.")


def print_faults(given: Given, settings: Settings, as_json: bool) -> int:
    """Prints what a run would say; answers the exit code. Raises Refused for held-out text without the text that it is held out of."""
    if given.held_out and not given.corpus:
        raise Refused("Held-out text is compared with the text that is trained on: captune check FILE --held-out FILE")
    faults, told = faults_of(given, settings)
    if as_json:
        refused = [{"name": type(one).__name__, "message": str(one)} for one in faults]
        print(json.dumps({"faults": refused, "told": told}))
    else:
        print(as_typed("\n".join(paragraphs(faults, given) if faults else told)))
    return 1 if faults else 0
