"""The external test set: documents of the corpus's field from other authors, measured with the held-out text and never trained on."""

from common.errors import HeldOutLeaks
from common.text import MINIMUM_DOCUMENTS, count_words, listed, plain
from preflight.request import NONE, Request
from preflight.texts import forms, held_out, text_file
from preflight.texts.text_file import Document, Files
from preflight.texts.training import ALIKE, Material, too_few

PREFIX = "outside"
DEPLOYED = "outside.jsonl"  # after the domain's name in data/, if it was there at deployment
# Scored before and after, as written and with its words shuffled: some 380,000 tokens of Llama 2, or two minutes of the ten that every run has at
# least, 2.5 times as fast (common/estimate.py) as the 1,190 tokens a second that were seen in training on ml.g5.2xlarge.
MAXIMUM_WORDS = 50_000
# Scored at each scale: 40 seconds on ml.g5.2xlarge (common/estimate.py).
SCALE_WORDS = 10_000
# How many kinds of text data/control.txt has, one after the other, and how many of each. With one of them set aside, six still give an interval.
CONTROL_KINDS, CONTROL_OF_A_KIND = 4, 7
NONE_GIVEN = (
    "No external test set was given (input key `heldOutside`), so the verdict covers only held-out documents of the same corpus, not other "
    "authors' texts of the field."
)


def read(content: bytes, name: str) -> list[Document]:
    """The documents of an external test set. Raises DatasetRejected or PatientDataSuspected, as for held-out text, naming the line."""
    least = text_file.MINIMUM_HELD_OUT_WORDS
    if not forms.are_rows(name):
        return text_file.documents(text_file.checked(content, name, least), PREFIX)
    return text_file.of_rows(text_file.rows_of(content, name), PREFIX, least)


def name_of(files: Files, request: Request) -> str:
    """The name of the external test set in messages, the input's or the deployed one; of a smoke run, which shows nothing, the input's."""
    if request.held_outside is not None:
        return "" if request.held_outside == NONE else request.held_outside
    deployed = request.corpus is None and not request.smoke and f"{files.domain}{DEPLOYED}" in files.data
    return files.name(None, DEPLOYED) if deployed else ""


def measure(found: list[Document], files: Files, request: Request, material: Material) -> None:
    """Puts the external documents into a run's material: those that are measured, and those that choose the adapter scale.

    Documents that share eight words in a row with the training text, or are held-out documents, are rejected with HeldOutLeaks. Of the
    deployed text, which whoever starts a run cannot change, such documents are left out.
    """
    name = name_of(files, request)
    if request.held_outside is None:
        sound = [part for part in found if material.overlap.first(part.text) is None]
        if len(sound) < len(found):
            material.warnings.append(
                f"{len(found) - len(sound)} documents of {name} are left out, because they share words with the training text."
            )
        found = sound
    files.attempt(lambda: _refuse_leaks(found, name, material))
    parts = held_out.different(found)
    if repeated := len(found) - len(parts):
        material.warnings.append(f"{repeated} external documents repeat another one; each is measured once.")
    kept = text_file.part(parts, MAXIMUM_WORDS)
    told = f"The external test set {name} has {len(parts)} documents"
    if len(kept) < len(parts):
        told += f", of which {len(kept)}, spread over it, are measured ({MAXIMUM_WORDS:,} words are enough)"
    if len(kept) < MINIMUM_DOCUMENTS:
        # A single document of any length is kept whole until here.
        kept = text_file.part(held_out.blocks(text_file.as_text(kept)), MAXIMUM_WORDS)
        told += f", too few for a verdict, so it was cut into {len(kept)} passages"
        material.warnings.append(
            f"{name} has fewer than {MINIMUM_DOCUMENTS} documents, so it was cut into passages, which count as documents. {ALIKE}"
        )
    material.warnings += too_few(kept, "external documents", "Add documents, or omit `heldOutside`.")
    if files.measures_scale and not request.smoke:
        kept, material.scale = _set_aside(parts, kept)
        if material.scale:
            told += f"; {len(material.scale)} documents choose the adapter scale, and {len(kept)} others judge"
    total = sum(count_words(part.text) for part in kept)
    material.outside = kept
    material.outside_told = f"{told}; {total:,} words are measured. “Improved” needs a lower loss there too."


def _set_aside(parts: list[Document], kept: list[Document]) -> tuple[list[Document], list[Document]]:
    """The documents that judge, and those that choose the adapter scale: unmeasured ones, or else every second; none of too few."""
    measured = {part.id for part in kept}
    spare = [part for part in parts if part.id not in measured and not held_out.are_passages(kept)]
    if sum(count_words(part.text) for part in spare) < SCALE_WORDS:
        if len(kept) < 2 * MINIMUM_DOCUMENTS:
            return kept, []
        kept, spare = kept[::2], kept[1::2]
    return kept, text_file.part(spare, SCALE_WORDS)


def choose_by_control(files: Files, request: Request, material: Material) -> None:
    """Sets a retention document of each kind aside to choose the scale, if the external test set is too small (docs/recipe.md)."""
    chosen = material.control[CONTROL_OF_A_KIND // 2 :: CONTROL_OF_A_KIND]
    if files.measures_scale and not request.smoke and not material.scale and len(chosen) >= CONTROL_KINDS:
        material.control = [part for part in material.control if part not in chosen]
        material.scale, material.scale_by_control = chosen, True


def _refuse_leaks(found: list[Document], name: str, material: Material) -> None:
    ours = {plain(part.text) for part in material.held_out}
    if same := [part for part in found if plain(part.text) in ours]:
        raise HeldOutLeaks(
            f"{_named(same)} of the external test set {name} {'is' if len(same) == 1 else 'are'} also in the run's held-out text. Use documents by other "
            "authors, or omit `heldOutside`."
        )
    if shared := [(part, run[1]) for part in found if (run := material.overlap.first(part.text))]:
        raise HeldOutLeaks(
            f"{_named([part for part, _ in shared])} of the external test set {name} share{'s' if len(shared) == 1 else ''} eight words in a row with the "
            f"training text (“{shared[0][1]}”), so their loss would prove nothing. Remove these documents from {name}, or the passages from the training text."
        )


def _named(parts: list[Document]) -> str:
    names = listed((f"“{(part.title or part.id)[:60]}”" for part in parts), most=5)
    return f"{'The document' if len(parts) == 1 else 'The documents'} {names}"
