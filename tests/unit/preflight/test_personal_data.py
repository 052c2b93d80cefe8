"""Personal data in a text: each kind is found by its line, never repeated, and not found where there is none."""

import re

import pytest

from common.errors import PatientDataSuspected
from preflight.texts.personal_data import refuse_patient_data

# Each text with its kind. The data itself stands between the marks, which are taken out before the search.
MARKED = {
    "Write to «jane.doe+lab@example-hospital.org» for the slides.": "an e-mail address",
    "Reached at «+49 (0)30 901820» in the evening.": "an international telephone number",
    "SSN «078-05-1120» on file.": "a social security number",
    "Medical record number «AB-123456» was used.": "a medical record number",
    "NHS number «943 476 5919»": "a medical record number",
    "The patient, born on «3 May 1961», had fever.": "a date of birth",
    "The patient, born «3rd of May 1961», had fever.": "a date of birth",
    "«Smith, John» (b. «03.05.1961»)": "a name with a date of birth",
    "«Mary-Ann O. Jones» «1961-05-03» fever": "a name with a date of birth",
    "Call «1-617-555-0199».": "a telephone number",
    "Call «1 (617) 555-0199».": "a telephone number",
    "Call «1 415 555 2671», or mail.": "a telephone number",
    "«(020) 7946 0958»": "a telephone number",
    "Medical record «1234567»": "a medical record number",
    "patient ID number «1234567»": "a medical record number",
    "«Иван Петров», «12.03.1956»": "a name with a date of birth",
    "«Sean O’Brien», «12/03/1956»": "a name with a date of birth",
    "«Vincent van Gogh», «12/03/1956»": "a name with a date of birth",
    "«Sarah West», «12/03/1956»": "a name with a date of birth",
    "«John\u00a0Smith» \t «03/12/1956»": "a name with a date of birth",
    "«Hans Meier» geb. «2.7.56»": "a date of birth",
    "«John Smith» («March 12, 1956»)": "a name with a date of birth",
    "Geburtsdatum: «04.03.1961»": "a date of birth",
    "«Max Mustermann», geboren am «4. März 1961»": "a date of birth",
    "Date de naissance : «04/03/1961»": "a date of birth",
    "«Jean Dupont», né le «4 février 1961»": "a date of birth",
    "«Jean Dupont», «4 de\u0301cembre 1961»": "a name with a date of birth",
    "Appelez le «01 42 34 56 78».": "a telephone number",
    "erreichbar unter «0171-2345678»": "a telephone number",
    "Call «07700900123» today.": "a telephone number",
    "Call «+1(212)555-0173» today.": "an international telephone number",
    "mobile: «0171 2345678»": "a telephone number",
    "Patientennummer: «1234567»": "a medical record number",
    "| MRN | «00482913» |": "a medical record number",
    '{"mrn": "«00482913»"}': "a medical record number",
    "MR# «00482913»": "a medical record number",
    "Medical Record #: «123456»": "a medical record number",
    "patient_id: «1234567»": "a medical record number",
    "MRN:\u200b«00482913»": "a medical record number",
    "DOB: «04-MAR-61»": "a date of birth",
    "DOB: «19610304»": "a date of birth",
    "DOB (dd/mm/yyyy): «03/04/1961»": "a date of birth",
    '"date_of_birth": "«1961-03-04»"': "a date of birth",
    "DOB: «03\u201104\u20111961»": "a date of birth",
    "«Jane Doe» «04-MAR-1961»": "a name with a date of birth",
    '"«Jane Doe»","«03/04/1961»"': "a name with a date of birth",
    "«Jane Doe» (F, «03/04/1961»)": "a name with a date of birth",
}
HARMLESS = [
    "The deletion chr7:140 453 136 lies near chr7:617 555 0199 and chrX:617 555 0199.",
    "Dilutions of 256 512 1024, doses of 250 500 1000 and 234 567 1890 mg.",
    "Table 3: 234 567 1890 432",
    "ISBN 978-0-306-40615-7, ISBN 0 201 63361 2, ISSN 1476-4687, ORCID 0000-0002-1825-0097.",
    "See doi 10.1000/617-555-0199, doi:10.1038/s41586-020-2012-7 and NC_000017.11.",
    "The electronic medical record 2015-2019 and medical records of 10000 patients.",
    "Reads were mapped with BWA MEM 0.7.17 and STAR Aligner 2.7.10.",
    "On Monday, 12 March 1977, and in Leeds 12/03/2019.",
    "Published Online March 12, 2019; Last Updated 12/03/2019.",
    "The structure of MRN in 2016, and MRN from 2003 to 2010; MRN (2016) and MRN, 1200 foci.",
    "It was mobile 10 000 000 base pairs away.",
    "GraphPad Prism (9.0.10), SPSS Statistics (27.0.10), Burrows Wheeler Aligner (0.7.17), Trim Galore, 0.6.10.",
    "Nextflow Pipeline, 21.10.06 and Docker Engine 20.10.12.",
    "Dose Levels: 5/10/20 mg, Genotype Counts: 12/30/18, Kaplan Meier 12-24-36 months.",
    "R Core Team (2020-04-24), World Health Organization (2020-03-11), European Medicines Agency, 04/03/2019.",
    "Nature Medicine, 11 March 2020; Human Genome Project (April 14, 2003); Buenos Aires, 12 March 2019.",
    "Samples 01 02 03 04 05 06 and wells 01 02 03 04 05.",
    "Lehman Brothers, September 15, 2008, came after Black Monday, October 19, 1987.",
]


# What a line end parts, and its kind.
WRAPPED = {
    "John Smith, born on\n3 May 1961": "a date of birth",
    "MRN:\n00482913": "a medical record number",
    "DOB\n03/04/1961": "a date of birth",
    "John Smith,\n03/05/1961": "a name with a date of birth",
    f"{'word ' * 400}John Smith,\n03/05/1961 {'word ' * 400}": "a name with a date of birth",
    f"John{' ' * 5000}Smith{' ' * 5000}03/12/1956": "a name with a date of birth",
    # Whoever it names.
    "Frederick Sanger, 12 March 1977": "a name with a date of birth",
}
# Two repetitions beside each other in a pattern would take hours for these, and the test run would not end.
REPEATED = (
    *("a.a-", "1 ", "A", "Aa ", "+1 ", "a", "1", ".", "@", "a@", "A'A-", "Ab, Cd ", "Ab van de ", "617 555 ", "1-"),
    *("born on the ", "medical record ", "\u0301\u0323"),
)
BEFORE_BLANKS = ("New York,", "New York (", "Medical record number", "patient", "tel 1", "born", "DOB")
JUNK = [
    *(junk * (200_000 // len(junk)) for junk in REPEATED),
    *(f"{before}{blank * 200_000}x" for before in BEFORE_BLANKS for blank in (" ", "\u00a0", " \t")),
]


@pytest.mark.parametrize(("marked", "kind"), MARKED.items())
def test_each_kind_is_found_on_its_line_and_not_repeated(marked: str, kind: str) -> None:
    line, secrets = re.sub("[«»]", "", marked), re.findall("«(.+?)»", marked)
    with pytest.raises(PatientDataSuspected) as refused:
        refuse_patient_data(f"# Title\n\nA harmless line.\n{line}\nAnother.", "corpora/a.txt")
    assert f"corpora/a.txt appears to contain personal data (line 4: {kind}" in str(refused.value)
    *data, message = ("".join(text.split()) for text in (*secrets, str(refused.value)))
    pieces = [secret[start : start + 4] for secret in data for start in range(len(secret) - 3)]
    assert pieces
    assert not [piece for piece in pieces if piece in message]


@pytest.mark.parametrize("line", [*HARMLESS, "It was told to John Smith,\n\n03/05/1961"])
def test_scientific_prose_is_left_alone(line: str) -> None:
    refuse_patient_data(line, "a")


@pytest.mark.parametrize("pattern", ["data/*.txt", "data/*.jsonl", "verification/experiments/texts/*.txt"])
def test_the_projects_own_texts_hold_none(pattern: str, request: pytest.FixtureRequest) -> None:
    assert (files := sorted(request.config.rootpath.glob(pattern)))
    for file in files:
        refuse_patient_data(file.read_text("utf-8"), file.name)


@pytest.mark.parametrize(("text", "kind"), WRAPPED.items(), ids=range(len(WRAPPED)))
def test_wrapped_data_is_found_under_its_first_line(text: str, kind: str) -> None:
    with pytest.raises(PatientDataSuspected, match=f"line 2: {kind}"):
        refuse_patient_data(f"# Title\n{text}", "a")


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    with pytest.raises(PatientDataSuspected, match="line 2: an e-mail address"):
        refuse_patient_data("one\x0cpage\u2028break\na@b.org", "a")


def test_first_eight_places_are_named_and_the_others_counted() -> None:
    with pytest.raises(PatientDataSuspected, match=r"line 8: an e-mail address and 12 more\)"):
        refuse_patient_data("a@b.org\n" * 20, "a")


@pytest.mark.slow
@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: f"{junk[:12]}…")
def test_line_of_megabytes_is_searched_in_the_time_of_its_length(junk: str) -> None:
    refuse_patient_data(junk, "a")
