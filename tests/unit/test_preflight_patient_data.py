"""Data of persons in a text: found by line, never repeated, and not seen where there is none."""

from __future__ import annotations

import pytest

from common.errors import PatientDataSuspected
from preflight.guards import refuse_patient_data

PERSONAL = {
    "Write to jane.doe+lab@example-hospital.org for the slides.": "an e-mail address",
    "Call 555-123-4567 before noon.": "a telephone number",
    "Call (555) 123-4567 before noon.": "a telephone number",
    "Call +1 555 123 4567 before noon.": "an international telephone number",
    "Reached at +44 20 7946 0958 in the evening.": "an international telephone number",
    "Reached at +49 (0)30 901820 in the evening.": "an international telephone number",
    "Telephone: 020 7946 0958": "a telephone number",
    "phone no. 0171/2345678": "a telephone number",
    "SSN 078-05-1120 on file.": "a social security number",
    "MRN: 00483921": "a medical record number",
    "MRN 12-34-56-78": "a medical record number",
    "Medical record number AB-123456 was used.": "a medical record number",
    "Patient ID: 4711-0815": "a medical record number",
    "NHS number 943 476 5919": "a medical record number",
    "DOB: 03/05/1961": "a date of birth",
    "Date of birth: 1961-05-03": "a date of birth",
    "The patient, born on 3 May 1961, had fever.": "a date of birth",
    "The patient, born 3rd of May 1961, had fever.": "a date of birth",
    "She was born on May 3, 1961 in Leeds.": "a date of birth",
    "John Smith, 03/05/1961, came with fever.": "a name with a date of birth",
    "Smith, John (b. 03.05.1961)": "a name with a date of birth",
    "Mary-Ann O. Jones 1961-05-03 fever": "a name with a date of birth",
}
HARMLESS = [
    "The variant NM_000546.6:c.743G>A lies at chr17:7674220 in exon 7.",
    "PMID 12345678 and doi 10.1182/blood.2022015853 are cited.",
    "A dose of 100 mg was given at 12:30 on day 28; 250 500 1000 mg followed.",
    "HIV-1 group M was traced to 1908, HBV genotype D to 3000-4000 years ago.",
    "Children born in 2010 were tested; the registry was born of a law.",
    "The trial of 12/03/2019 enrolled 1234 patients in 56 centres.",
    "Genes such as BRCA1/2, CYP2D6*4 and HLA-B*57:01 are listed.",
    "The @ sign stands alone, as in 3 @ 5.",
    "Roughly 555 000 to 1 234 567 reads were counted.",
    "The patient number rose from 1200 to 1400 that year was not said; record numbers fell.",
]


@pytest.mark.parametrize(("line", "kind"), PERSONAL.items())
def test_each_kind_is_found_on_its_line(line: str, kind: str) -> None:
    with pytest.raises(PatientDataSuspected) as refused:
        refuse_patient_data(f"# Title\n\nA harmless line.\n{line}\nAnother.", "corpora/a.txt")
    assert f"corpora/a.txt looks as if it held data of persons (line 4: {kind}" in str(refused.value)


@pytest.mark.parametrize("line", PERSONAL)
def test_the_data_itself_is_never_repeated(line: str) -> None:
    with pytest.raises(PatientDataSuspected) as refused:
        refuse_patient_data(line, "a")
    assert not [word for word in line.split() if any(c.isdigit() for c in word) and word in str(refused.value)]


@pytest.mark.parametrize("line", HARMLESS)
def test_scientific_prose_is_left_alone(line: str) -> None:
    refuse_patient_data(line, "a")


@pytest.mark.parametrize("name", ["medicaldataset", "medicalheldout", "control", "financedataset", "financeheldout"])
def test_the_texts_that_ship_with_the_project_hold_none(name: str, request: pytest.FixtureRequest) -> None:
    refuse_patient_data((request.config.rootpath / "data" / f"{name}.txt").read_text("utf-8"), name)


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    with pytest.raises(PatientDataSuspected, match="line 2: an e-mail address"):
        refuse_patient_data("one\x0cpage\u2028break\na@b.org", "a")


def test_many_findings_are_counted_and_the_first_eight_named() -> None:
    with pytest.raises(PatientDataSuspected, match=r"line 8: an e-mail address and 12 more\)"):
        refuse_patient_data("a@b.org\n" * 20, "a")


def test_a_line_of_megabytes_is_searched_in_the_time_of_its_length() -> None:
    for junk in ("a.a-" * 50_000, "1 " * 100_000, "A" * 200_000, "Aa " * 60_000, "+1 " * 60_000):
        refuse_patient_data(junk, "a")
