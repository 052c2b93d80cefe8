"""What the report says of several seeds: page, PDF, model card and summary alike."""

from __future__ import annotations

import copy
import re

import pytest

from verification.experiments.reports.examples import finished, seeds_that_disagree, settled, several_seeds
from report.content import seeds
from report.content.sections import sections
from report.findings.verdict import IMPROVED
from report.html import page
from report.model_card import card
from report.pdf import document as pdf
from report.summary_types import Summary
from tests.unit.report.test_pages import pdf_text


@pytest.fixture(scope="module")
def three() -> Summary:
    return several_seeds()


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("\u00a0", " ")


def test_every_form_shows_each_seed_and_what_was_left_out(three: Summary) -> None:
    forms = {
        "page": text_of(page.render(three)),
        "card": card.render(three).replace("\\", ""),
        "pdf": " ".join(pdf_text(pdf.render(three)).split()),
    }
    for name, text in forms.items():
        assert "42 (served)" in text, name
        assert "All 3 seeds lower the loss on held-out text: from " in text, name
        assert "All 3 seeds lower the loss on outside text: from " in text, name
        assert "Seed 99: it needs about 430 s, and 210 s were left." in text, name
        assert seeds.CAPTION in text, name
    assert "| 7 | −0." in forms["card"]


def test_a_reader_is_told_how_to_see_what_another_seed_changes(three: Summary) -> None:
    told = "Training on other hardware gives slightly other losses, and so does another seed: "
    assert told + "its section above shows by how much." in text_of(page.render(three))
    alone = text_of(page.render(settled(finished()))).replace("&quot;", '"').replace("&#34;", '"')
    assert told + 'a run with {"seeds": [1, 2, 3]} in its input shows by how much.' in alone


def test_the_spread_stands_beside_the_interval_over_documents(three: Summary) -> None:
    first = three["seeds"]["results"][0]["heldout"]
    assert first and first["high"] is not None and first["low"] is not None
    told = seeds.agreement(three["seeds"])[0]
    assert "standard deviation 0.0" in told
    assert told.endswith(f"The interval over documents of the first is {first['high'] - first['low']:.3f} wide.")


def test_seeds_that_disagree_are_told_and_the_verdict_stays_the_first_seeds() -> None:
    made = seeds_that_disagree()
    assert made["verdict"] == IMPROVED == settled(finished())["verdict"]
    (told,) = seeds.agreement(made["seeds"])
    assert told.startswith("The 2 seeds do not agree on whether the loss on held-out text falls or rises: from −0.")
    assert "The verdict hangs on the seed." in told


def test_all_seeds_that_raise_the_loss_are_said_to(three: Summary) -> None:
    block = copy.deepcopy(three["seeds"])
    spread = block["spread"]["heldout"]
    assert spread
    spread |= {"lowest": 0.1, "highest": 0.2}
    assert seeds.agreement(block)[0].startswith("All 3 seeds raise the loss on held-out text: from +0.100 to +0.200")


def test_two_seeds_that_agree_are_both() -> None:
    (told,) = seeds.agreement(settled(finished(further={7: -0.1}))["seeds"])
    assert told.startswith("Both seeds lower the loss on held-out text: from −0.")


def test_where_no_other_seed_came_to_its_end_nothing_is_claimed() -> None:
    made = settled(finished(further={}))
    assert seeds.agreement(made["seeds"]) == [
        "No other seed came to its end, so nothing is known of how much hangs on it."
    ]
    section = seeds.seeds(made)
    assert section and "Seeds that were left out" in [getattr(block, "title", "") for block in section.blocks]
    assert "One training run with one seed." in seeds.covered(made)
    assert "its section above shows by how much" not in text_of(page.render(made))


def test_a_run_with_one_seed_has_no_such_section_and_says_that_it_is_one_seed(three: Summary) -> None:
    usual = settled(finished())
    assert "seeds" not in usual
    assert "seeds" not in [part.identifier for part in sections(usual)]
    assert "One training run with one seed." in card.render(usual)
    assert "how far 3 seeds differ is shown apart" in card.render(three)
    assert "how far 3 seeds differ is shown apart" in text_of(page.render(three))
