"""`captune external`: fetches public abstracts of the medical domain's field as an external test set.

It is PubMedQA's expert-labelled part (Jin et al., 2019), from its public home at a fixed commit; MIT licence. Nothing of it is part of this project: git
ignores the file. It lies beside the corpus, so that a deployment and a rehearsal take it along, and a run of the domain's own corpus measures on it.
"""

import hashlib
import json
import os
import re
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from captune.account import PROJECT, Refused
from common.text import count_words
from preflight.texts.held_out import Overlap
from preflight.texts.outside_text import DEPLOYED
from rehearsal import user_files
from rehearsal.programs import as_typed
from report.content.circumstances import MEDICAL

# What is trained on, today and in the evidence: an abstract that shares eight words in a row with one of them is left out.
CORPORA = (
    PROJECT / "data" / "medicaldataset.txt",
    PROJECT / "verification" / "experiments" / "texts" / "first_corpus.txt",
)
DOMAIN = MEDICAL  # the one whose field they are of
TARGET = PROJECT / "data" / f"{DOMAIN}{DEPLOYED}"
COMMIT = "1cbae8e92f72f20c8d3747cbb3bf5bc53554d997"  # of github.com/pubmedqa/pubmedqa
ADDRESS = f"https://raw.githubusercontent.com/pubmedqa/pubmedqa/{COMMIT}/data/ori_pqal.json"
SHA256 = "8b3276be8942ebbd77f3ddcda12c1749bf0e490045a736fd8438ee40cf37a41d"
_BY_HAND = f"Download {ADDRESS} with a browser on a machine that reaches it, copy the file here, and: captune external --from-file FILE"
_SECONDS = 60
_LARGEST_BYTES = 16 * 2**20  # the file has 2.5 MiB

# The rule of the choice. An abstract is of an area when a word of it stands in the title or among the MeSH terms and twice or more in the text;
# of each area, the abstracts in which its words are most frequent are taken. `*` stands for any letters.
AREA_ABSTRACTS = 40
_LEAST_IN_TEXT = 2
AREAS: Mapping[str, tuple[str, ...]] = {
    "genomics": (
        "gene", "genes", "genetic*", "genome*", "genomic*", "genotyp*", "pharmacogen*", "mutation*", "polymorphism*", "allele*", "haplotype*", "exome*",
        "chromosom*", "sequencing", "dna", "rna", "mrna", "microrna*", "germline", "heterozyg*", "epigenetic*", "methylation",
    ),
    "virology": (
        "virus", "viruses", "viral", "*virus", "*viruses", "virolog*", "retrovir*", "antiretroviral*", "hiv", "hiv-1", "hpv", "hbv", "hcv", "cmv", "ebv",
        "hepatitis b", "hepatitis c", "influenza", "herpes", "zoster",
    ),
    "oncology": (
        "cancer", "cancers", "carcinoma*", "adenocarcinoma*", "*sarcoma", "*sarcomas", "tumor", "tumors", "tumour", "tumours", "neoplas*", "leukemi*",
        "leukaemi*", "lymphoma*", "myeloma*", "melanoma*", "glioma*", "glioblastoma*", "metasta*", "oncogen*", "malignan*",
    ),
}  # fmt: skip


def command(
    from_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Read this file, which you downloaded yourself.", show_default=False)] = None,
    optional: Annotated[bool, typer.Option("--optional", help="Do nothing if the file is there, and do not fail if it cannot be fetched.")] = False,
) -> None:  # fmt: skip
    """Fetches the abstracts and writes them beside the corpus."""
    if optional and TARGET.is_file():
        return
    try:
        print(fetch(from_file, TARGET))
    except Refused as error:
        if not optional:
            raise
        print(as_typed(f"captune: no external test set, so runs will not measure the model on one. {error}"))


def fetch(source: Path | None = None, target: Path = TARGET) -> str:
    """Writes abstracts (id, title, text) of `source` or the public address; answers what it wrote. Raises Refused and DatasetRejected."""
    if source:
        user_files.checked_size(source)
    try:
        with urllib.request.urlopen(source.resolve().as_uri() if source else ADDRESS, timeout=_SECONDS) as answer:
            content: bytes = answer.read(_LARGEST_BYTES + 1)
    except OSError as error:  # urllib's URLError too
        raise Refused(f"{source or ADDRESS} cannot be read ({error}). {_BY_HAND}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise Refused(
            f"{source or ADDRESS} is not the pinned version: its SHA-256 is {found}, not {SHA256}. {_BY_HAND}"
        )
    taken = chosen(json.loads(content))
    overlap = Overlap(corpus.read_text("utf-8") for corpus in CORPORA)
    kept = [one for one in taken if overlap.first(one["text"]) is None]
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in kept), "utf-8")
    os.replace(partial, target)
    shown = target.relative_to(PROJECT) if target.is_relative_to(PROJECT) else target
    left_out = len(taken) - len(kept)
    return (
        f"{len(kept)} abstracts, {sum(count_words(one['text']) for one in kept):,} words, in {shown}"
        + (f" ({left_out} more share eight words in a row with a training text and were left out)" if left_out else "")
        + f". From PubMedQA, MIT licence, commit {COMMIT[:12]}.\nRehearsals and deployments from now on measure on half of them, and choose the adapter scale by the other half."
    )


def chosen(records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """The abstracts that the rule above takes of PubMedQA's records, in the order of their numbers in PubMed."""
    taken: dict[int, dict[str, str]] = {}
    for pattern in map(_pattern, AREAS.values()):
        dense = []
        for key, record in records.items():
            text = "\n\n".join([*record["CONTEXTS"], record["LONG_ANSWER"]])
            times = len(pattern.findall(text))
            if pattern.search(f"{record['QUESTION']}; {'; '.join(record['MESHES'])}") and times >= _LEAST_IN_TEXT:
                dense.append((-times / max(1, count_words(text)), int(key), str(record["QUESTION"]), text))
        for _, number, title, text in sorted(dense)[:AREA_ABSTRACTS]:
            taken[number] = {"id": f"pubmed-{number}", "title": title, "text": text}
    return [taken[number] for number in sorted(taken)]


def _pattern(area: tuple[str, ...]) -> re.Pattern[str]:
    forms = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in area)
    return re.compile(rf"(?<![\w-])(?:{forms})(?!\w)", re.IGNORECASE)
