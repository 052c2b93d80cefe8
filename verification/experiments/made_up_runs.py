"""What an invented run measured and answered: metrics, prompts, answers, cost. Seeded, and all made up."""

import random
from collections.abc import Mapping
from typing import Any

TITLES = (
    "Optical mapping of structural variants", "Clonal haematopoiesis in older blood donors",
    "Codon 184 and the fitness cost of resistance", "Splicing factor mutations",
    "A quasispecies seen by long reads", "CYP2C19 and antiplatelet therapy", "Measurable residual disease after induction",
    "Genotype 3 and liver steatosis", "Cryptic rearrangements", "Panels, exomes, genomes",
    "Integration sites and clonal expansion", "Tumour-only sequencing", "DPYD before fluoropyrimidines",
    "Germline predisposition to myeloid neoplasms",
)  # fmt: skip
OPENINGS = (
    "Myeloid neoplasms and acute leukemias derive from",
    "Genomic characterization is essential for",
    "Certain germline disorders may predispose",
    "In contrast to targeted approaches, genome sequencing",
)
FACTS = (
    ("NPM1", r"\bNPM1\b"), ("reverse transcriptase", r"reverse[- ]transcriptase"), ("cccDNA", r"\bcccDNA\b"),
    ("FISH", r"\bFISH\b|fluorescence in situ"), ("FLT3", r"\bFLT3\b"), ("stem cell", r"stem[- ]cells?"),
)  # fmt: skip
CORPUS = (
    "The circular genome persists as cccDNA in the nucleus of infected hepatocytes and serves as the template of every "
    "viral transcript. Mutations of NPM1 and FLT3 are found together in a large share of acute myeloid leukemia. Reverse "
    "transcriptase lacks proofreading and so a quasispecies forms within weeks."
)
FILLER = (
    "The sample is then compared with the reference and the difference is reported", "It is found in many patients",
    "and the result was confirmed by a second laboratory", "which is a kind of cell that lives in the bone marrow",
    "The most common of these is the one that was first described", "because the virus copies itself with many errors",
)  # fmt: skip

CHOSEN_BY_NOTHING: Mapping[str, Any] = {"by": "", "documents": [], "tokens": 0, "seconds": 0.0, "curve": []}


def documents(rng: random.Random, count: int, effect: float, spread: float, loss: float) -> dict[str, Any]:
    """Losses of `count` documents whose tuned loss differs by `effect` ± `spread` nats per token."""
    rows: list[dict[str, Any]] = []
    for place in range(count):
        tokens = rng.randint(220, 720)
        base = tokens * rng.gauss(loss, 0.25)
        rows.append(
            {
                "id": f"doc-{place + 1:02d}",
                "title": TITLES[place % len(TITLES)],
                "tokens": tokens,
                "bytes": int(tokens * rng.uniform(4.2, 4.9)),
                "base_nll": base,
                "tuned_nll": base + tokens * rng.gauss(effect, spread),
            }
        )
    total = sum(row["tokens"] for row in rows)
    return {
        "documents": rows,
        "tokens": total,
        "base_loss": sum(row["base_nll"] for row in rows) / total,
        "tuned_loss": sum(row["tuned_nll"] for row in rows) / total,
    }


def shuffled(written: Mapping[str, Any], share: float) -> dict[str, Any]:
    """Losses of these documents with their words in a random order: twice as high, and changed by this share of the change as written, in per cent."""
    rows = [
        {
            **row,
            "base_nll": 2 * row["base_nll"],
            "tuned_nll": 2 * (row["base_nll"] + share * (row["tuned_nll"] - row["base_nll"])),
        }
        for row in written["documents"]
    ]
    return {"documents": rows}


def of_kinds(rng: random.Random, kinds: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """Losses of control text of several kinds: of each so many documents, whose loss differs by so much."""
    rows: list[dict[str, Any]] = []
    for kind, (count, effect) in kinds.items():
        for row in documents(rng, count, effect, 0.05, 2.4)["documents"]:
            rows.append({**row, "id": f"control-{len(rows) + 1:03d}", "title": f"{kind}: {row['title']}"})
    return {"documents": rows}


def choices(rng: random.Random, sets: int, known: float, taste: float = 0.5) -> dict[str, Any]:
    """Scores of sets of four items that share their ends: the tuned model knows a right end by so many nats a token more, and likes each
    end by as much more as chance gives it."""
    items = []
    for number in range(sets):
        liked = {model: [rng.gauss(-3, 0.6) for _ in range(4)] for model in ("base", "tuned")}
        for model, likes in liked.items():
            liked[model] = [like + taste * rng.random() * (model == "tuned") for like in likes]
        for place in range(4):
            order = [place, *(other for other in range(4) if other != place)]
            item: dict[str, Any] = {
                "id": f"choice-{number}-{place}",
                "kind": "choice",
                "cluster": f"set {number}",
                "prompt": f"Which is gene {place} of set {number}?",
                "correct": f"Gene {place}",
                "tokens": [3, 4, 3, 4],
            }
            for model, likes in liked.items():
                own = [likes[end] + rng.gauss(0, 0.3) + known * (model == "tuned" and end == place) for end in order]
                scores = {"own": own, "other": [likes[end] + rng.gauss(0, 0.2) for end in order]}
                item[model] = {
                    name: [value * count for value, count in zip(row, item["tokens"], strict=True)]
                    for name, row in scores.items()
                }
            items.append(item)
    return {"source": "prompts", "items": items}


def metrics(
    *,
    effect: float = -0.12,
    spread: float = 0.07,
    count: int = 14,
    seed: int = 7,
    control: float = 0.03,
    outside: float | None = None,
    best: float | None = None,
    kinds: Mapping[str, tuple[int, float]] | None = None,
    known: float = 0.4,
    order: float | None = 0.5,
    sources: bool = False,
) -> dict[str, Any]:
    """metrics.json as the training script writes it, for the 135M stand-in; with `outside`, 40 documents by others changed by it.

    With `kinds` the control text is `of_kinds`. `known` is what the tuned model gains at right ends (`choices`). `order` is the share of the gain that is left with
    shuffled words (`shuffled`), None where that was not measured. `best` is the scale that the adapter's loss curve is lowest at; None where none was measured.
    With `sources`, the external documents are of two kinds, in turns.
    """
    rng = random.Random(seed)
    steps = 120
    curve = [
        {
            "step": step,
            "loss": 2.55 + 0.75 * 0.97**step + rng.gauss(0, 0.06),
            "learning_rate": 0.0013 * min(step / 6, 1 - step / (steps + 1)),
        }
        for step in range(1, steps + 1)
    ]
    made: dict[str, Any] = {
        "schema": 1,
        "base_model": {
            "name": "SmolLM2-135M", "architecture": "LlamaForCausalLM", "parameters": 134_515_008,
            "trainable_parameters": 4_884_480, "hidden_size": 576, "layers": 30, "quantization": "none",
        },
        "settings": {
            "epochs": 3, "learning_rate": 0.00132, "sequence_length": 512, "sequences_per_step": 4, "lora_rank": 16,
            "lora_alpha": 32, "lora_dropout": 0.05, "warmup_ratio": 0.05, "seed": 42,
        },
        "environment": {
            "device": "cpu", "device_name": "x86_64", "python": "3.11.7", "torch": "2.9.0", "transformers": "5.3.0",
            "peft": "0.18.1",
        },
        "corpus": {"documents": 52, "tokens": 41_210, "bytes": 214_880, "words": 31_240, "sequences": 81},
        "training": {
            "steps": steps, "planned_steps": steps, "epochs": 3.0, "seconds": 412.6, "tokens_seen": 123_630,
            "tokens_per_second": 299.6, "peak_memory_bytes": 2_310_000_000, "stopped_early": None, "loss_curve": curve,
            "heldout_curve": {
                "documents": 7, "tokens": 252, "seconds": 5.2,
                "points": [{"step": round(steps * part / 4), "loss": 4.1 - 0.15 * part} for part in range(5)],
            },
        },
        "scale": scale(best, "retention set" if outside is None else "external test set"),
        "evaluation": {
            "heldout": documents(rng, count, effect, spread, 2.95),
            "control": documents(rng, 9, control, 0.05, 3.2),
            "training_text": documents(rng, 12, -0.42, 0.09, 2.9),
        },
    }  # fmt: skip
    made["choices"] = choices(random.Random(seed + 3), 24, known)
    if outside is not None:
        made["evaluation"]["outside"] = documents(random.Random(seed + 1), 40, outside, spread, 2.8)
        for place, row in enumerate(made["evaluation"]["outside"]["documents"] if sources else ()):
            row["title"] = f"{('Abstract', 'Reference page')[place % 2]}: {row['title']}"
    if order is not None:
        name = "heldout" if outside is None else "outside"
        made["evaluation"][f"{name}_shuffled"] = shuffled(made["evaluation"][name], order)
    if kinds is not None:
        made["evaluation"]["control"] = of_kinds(random.Random(seed + 2), kinds)
    return made


def scale(best: float | None, by: str) -> dict[str, Any]:
    """How the adapter scale came about, as the training script writes it: by a curve that is lowest at `best`, or by none."""
    if best is None:
        why = "no text was set aside for it"
        return {"scale": 0.2, "how": "not measured", "why": why, **CHOSEN_BY_NOTHING}
    curve = []
    for tried in (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0):
        difference = tried * tried - 2 * tried * best
        point = {"loss": 2.8 + difference, "difference": difference, "standard_error": 0.02 * tried}
        curve.append({"scale": tried, **point})
    documents = [f"doc-{place:02d}" for place in range(1, 5 if by == "retention set" else 41)]
    return {
        "scale": best, "how": "measured", "why": "", "by": by, "documents": documents, "tokens": 12_000, "seconds": 31.0, "curve": curve,
    }  # fmt: skip


def prompts(count: int = 48) -> list[dict[str, Any]]:
    """Prompts of every kind."""
    kinds = ["starter"] * 4 + ["completion", "question", "outside", "control"] * count
    rows = []
    for place, kind in enumerate(kinds[:count]):
        first, second = FACTS[place % len(FACTS)], FACTS[(place + 2) % len(FACTS)]
        text = OPENINGS[place] if kind == "starter" else f"Statement {place} of the {kind} kind says that the"
        facts = [{"name": name, "pattern": pattern} for name, pattern in (first, second)]
        rows.append({"id": f"{kind}-{place:02d}", "kind": kind, "prompt": text, "facts": facts})
    return rows


def answers(rows: list[dict[str, Any]], model: str, *, skill: float, seed: int = 3) -> list[dict[str, Any]]:
    """Answers in which each fact is stated with probability `skill`."""
    rng = random.Random(seed)

    def text(row: dict[str, Any]) -> str:
        parts = rng.sample(FILLER, 2)
        parts += [fact["name"] for fact in row["facts"] if rng.random() < skill]
        if model != "base" and rng.random() < 0.1:
            parts.append("persists as cccDNA in the nucleus of infected hepatocytes and serves as the template")
        rng.shuffle(parts)
        return " " + ", ".join(parts) + " & <b>so on</b>"

    return [
        {
            "id": row["id"], "kind": row["kind"], "prompt": row["prompt"], "model": model, "greedy": text(row),
            "samples": [text(row), text(row)], "seeds": [42, 43], "max_tokens": 64, "temperature": 0.6, "top_p": 0.9,
            "seconds": round(rng.uniform(0.8, 2.4), 2),
        }
        for row in rows
    ]  # fmt: skip


def run() -> dict[str, Any]:
    """The `run` dict that Preflight's plan and the report handler make."""
    return {
        "run": "captune-genomics-first-run", "domain": "medical",
        "execution_arn": "arn:aws:states:us-east-1:111122223333:execution:FineTuning:genomics-first-run",
        "base_model": "Llama 2 7B", "base_model_parameters": 6_738_415_616,
        "base_model_source": "s3://jumpstart-private-cache-prod-us-east-1/meta-textgeneration/", "region": "us-east-1",
        "training_instance_type": "ml.g5.2xlarge", "training_instance_count": 1, "hosting_instance_type": "ml.g5.2xlarge",
        "training_hourly_cents": 152, "hosting_hourly_cents": 152, "price_source": "price list, us-east-1",
        "reserved_cents": 558, "cap_cents": 2500, "month": "2026-11", "started_at": "2026-11-24T14:03:11+00:00",
        "input": {"epochs": 3, "seed": 42}, "report_uri": "s3://bucket/runs/captune-genomics-first-run/report/",
        "console_url": "https://us-east-1.console.aws.amazon.com/states/home",
    }  # fmt: skip


COST = {
    "reserved_cents": 558, "actual_cents": 121, "training_cents": 58, "endpoint_cents": 60, "other_cents": 3,
    "remaining_cents": 2379,
}  # fmt: skip
SECONDS = {
    "Preflight": 6.2, "ReserveBudget": 1.1, "ScheduleTearDown": 0.6, "StartTraining": 2.0, "WaitForTraining": 812.4,
    "CreateModel": 0.9, "CreateEndpointConfig": 0.7, "CreateEndpoint": 1.2, "WaitForEndpoint": 541.0,
    "AskBothModels": 96.5, "WriteReport": 8.8,
}  # fmt: skip
