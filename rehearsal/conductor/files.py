"""The files that a rehearsal uploads, and the execution input that names them."""

import json
import math
import re
from pathlib import Path
from typing import Any

from common import records
from common.ledger import keys
from common.ledger.seal import sealed
from preflight.texts import forms, outside_text, text_file
from rehearsal import user_files
from rehearsal.account.cloud import Cloud

from .options import Options

QUICK_WORDS, QUICK_HELD_OUT_WORDS, QUICK_PROMPTS = 1100, 260, 4
QUICK_SETTINGS = {"sequence_length": "128", "samples_per_prompt": "0"}
# The most that a rehearsal of the domain's own text asks, and measures of text by others, unless `--words` is given: two cores then need
# less than five minutes. With fewer than 20 sets of items to choose from, what the model knows is not judged.
# So many external words leave six reference pages to judge: fewer than six documents of a kind are not judged.
MOST_KNOWLEDGE_PROMPTS, MOST_CHOICE_SETS, OUTSIDE_WORDS = 28, 24, 9_000


def upload(cloud: Cloud, options: Options, domain: str) -> dict[str, Any]:
    """Upload what the options name to corpora/ and return the execution input. Raises DatasetRejected for a file that Preflight would not read."""
    run_input: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for key, path, ending in (
        ("corpus", options.corpus, ""),
        ("heldOut", options.held_out, ""),
        ("heldOutside", options.outside, ""),
        ("prompts", options.prompts, ".jsonl"),
    ):
        if path is not None:
            # Rows are known by their ending; whatever else it is called, it is text.
            ending = ending or (path.suffix.lower() if forms.are_rows(path.name.lower()) else ".txt")
            ending = ".jsonl" if user_files.is_parquet(path) else ending  # as it is read
            most = text_file.MOST_CORPUS_BYTES if key == "corpus" else text_file.MOST_BYTES
            files[key] = user_files.read(path, most)
            # With its role: two files may have one name, and every name without a Latin letter becomes the same.
            safe = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-.") or "text"
            run_input[key] = f"corpora/{key.lower()}-{safe}{ending}"
    data = options.project / "data"
    prepared = _quick(data, domain) if options.quick else {}
    if not options.quick and options.corpus is None and "corpus_words" not in options.settings:
        prepared = _fewer_prompts(data, domain)
        if options.outside:
            run_input["heldOutside"] = f"{run_input['heldOutside'].rpartition('.')[0]}.jsonl"
            files["heldOutside"] = _part_of_outside_text(files["heldOutside"], options.outside.name)
        elif (deployed := data / f"{domain}{outside_text.DEPLOYED}").is_file():
            run_input["heldOutside"] = "corpora/rehearsal-heldoutside.jsonl"
            files["heldOutside"] = _part_of_outside_text(deployed.read_bytes(), deployed.name)
    for key, content in prepared.items():
        # The domain's prompts say nothing of a text of the user's own, from which a run makes its own.
        if key not in files and options.corpus is None:
            files[key] = content
            run_input[key] = f"corpora/rehearsal-{key.lower()}{'.jsonl' if key == 'prompts' else '.txt'}"
    assert cloud.deployment is not None
    for key, content in files.items():
        cloud.client("s3").put_object(Bucket=cloud.deployment.bucket, Key=run_input[key], Body=content)
    return {**run_input, **options.input}


def _quick(data: Path, domain: str) -> dict[str, bytes]:
    """The first words of the domain's texts, at whole paragraphs, and its first prompts.

    What the domain lacks is left to Preflight, which refuses it by its name.
    """
    corpus, held_out, prompts = (data / f"{domain}{rest}" for rest in ("dataset.txt", "heldout.txt", "prompts.jsonl"))
    slices: dict[str, bytes] = {}
    # Both or none: a corpus alone would pass for a person's own, of which a part is held out.
    if corpus.is_file() and held_out.is_file():
        slices["corpus"] = _first_words(corpus, QUICK_WORDS)
        slices["heldOut"] = _short_documents(held_out, QUICK_HELD_OUT_WORDS)
    if prompts.is_file():
        first = prompts.read_text(encoding="utf-8").splitlines()[:QUICK_PROMPTS]
        slices["prompts"] = ("\n".join(first) + "\n").encode()
    return slices


def _fewer_prompts(data: Path, domain: str) -> dict[str, bytes]:
    """The domain's prompts: of those that ask for knowledge of the field about `MOST_KNOWLEDGE_PROMPTS` from all over the file, of the
    items to choose from about `MOST_CHOICE_SETS` whole sets."""
    path = data / f"{domain}prompts.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    # The numbers of their lines. A line that is no prompt stays where it is: Preflight refuses it by its number.
    rows = [(number, row) for number, row in records.json_lines(text) if isinstance(row, dict)]
    sets: dict[str, list[int]] = {}
    for number, row in rows:
        if "choices" in row:
            sets.setdefault(str(row.get("cluster", number)), []).append(number)
    knowledge = [
        [number] for number, row in rows if "choices" not in row and row.get("kind") not in ("starter", "control")
    ]
    left_out: set[int] = set()
    for groups, most in ((knowledge, MOST_KNOWLEDGE_PROMPTS), (list(sets.values()), MOST_CHOICE_SETS)):
        kept = groups[:: math.ceil(len(groups) / most) or 1]
        left_out.update(number for group in groups if group not in kept for number in group)
    if not left_out:
        return {}
    lines = ("" if number in left_out else line for number, line in enumerate(text.split("\n"), 1))
    return {"prompts": "\n".join(lines).encode()}


def _part_of_outside_text(outside: bytes, name: str) -> bytes:
    """About `OUTSIDE_WORDS` of a file of text by others, in whole documents. Raises what Preflight would say of the file."""
    parts = text_file.part(outside_text.read(outside, name), OUTSIDE_WORDS)
    return "".join(f"{json.dumps({'id': one.id, 'title': one.title, 'text': one.text})}\n" for one in parts).encode()


def _first_words(path: Path, words: int) -> bytes:
    kept, count = [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        kept.append(line)
        count += len(text_file.without_titles(line).split())
        if count >= words:
            break
    return ("\n".join(kept) + "\n").encode()


def _short_documents(path: Path, words: int) -> bytes:
    """A few words of each of six documents: the verdict needs at least six of them."""
    first = text_file.documents(path.read_text(encoding="utf-8"), path.stem)[:6]
    return "\n".join(f"# {one.title}\n\n{' '.join(one.text.split()[: words // 6 + 1])}\n" for one in first).encode()


def reserve_all_but(cloud: Cloud, left_cents: int, cap_cents: int) -> None:
    """Set the cap aside in the ledger but for `left_cents`, in this month and the next (a run may touch both)."""
    assert cloud.deployment is not None
    now = cloud.clock()
    following = (now.year + now.month // 12, now.month % 12 + 1)
    for year, month in ((now.year, now.month), following):
        item = {"pk": keys.of_month(f"{year}-{month:02d}"), "committed_cents": max(0, cap_cents - left_cents)}
        cloud.client("dynamodb").put_item(TableName=cloud.deployment.table, Item=sealed(item))
