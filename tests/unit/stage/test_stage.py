"""StageInput: the run gets exactly what was checked, or nothing at all."""

import json

import pytest

from common.errors import DatasetChanged, ServiceUnreachable
from preflight import staging
from tests.doubles.lambda_fakes import refusal
from tests.doubles.preflight_site import KEPT, Site, titled
from tests.doubles.texts import GOOD, lines, prose

MINE = {"corpus": "corpora/mine.txt", "prompts": "corpora/p.jsonl", "heldOutside": "corpora/others.txt"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(monkeypatch)
    site.upload("others.txt", titled(8, 60, 700))
    site.upload("mine.txt", prose(3000, 7).encode())
    site.upload("p.jsonl", lines([GOOD]))
    return site


@pytest.mark.parametrize("name", ["mine.txt", "p.jsonl", "others.txt"])
def test_replaced_file_is_copied_as_it_was_checked(site: Site, name: str) -> None:
    plan = site.run(MINE)
    assert set(plan["inputVersions"]) == set(MINE.values())
    site.upload(name, b"something else")
    site.stage(plan)
    assert plan["inputDigest"] == staging.digest({key: body for key, body in site.staged.items() if key != "plan.json"})


@pytest.mark.parametrize("name", ["mine.txt", "p.jsonl", "others.txt"])
def test_file_whose_checked_version_is_gone_is_rejected(site: Site, name: str) -> None:
    plan = site.run(MINE)
    del site.s3.versions[plan["inputVersions"][f"corpora/{name}"]]
    with pytest.raises(DatasetChanged, match=f"corpora/{name} does not exist"):
        site.stage(plan)
    assert not site.staged


def test_other_deployed_data_is_rejected(site: Site) -> None:
    plan = site.run()
    site.data["control.txt"] += b" More."
    site.deploy()
    with pytest.raises(DatasetChanged, match="The deployed data changed"):
        site.stage(plan)


def test_second_call_completes_the_copy_and_a_third_writes_nothing(site: Site) -> None:
    plan = site.run(MINE)
    site.s3.troubles["put_object"] = [refusal("SlowDown")]
    with pytest.raises(ServiceUnreachable, match="Copying the run's input"):
        site.stage(plan)
    site.s3.objects["bucket", f"{KEPT}input/corpus/corpus.txt"] = b"half of"
    site.s3.calls.clear()
    site.stage(plan)
    written = [request["Key"] for request in site.s3.called("put_object")]
    assert written[-1] == f"{KEPT}plan.json"
    assert len(written) == len(set(written)) == len(site.staged)
    assert json.loads(site.staged["plan.json"]) == plan
    assert site.staged["input/corpus/corpus.txt"] != b"half of"
    # Whatever becomes of the user's files, a further call writes nothing.
    site.s3.versions.clear()
    assert site.stage(plan)["inputDigest"] == plan["inputDigest"]
    assert len(site.s3.called("put_object")) == len(written)


def test_digest_covers_every_path_and_content_in_any_order(site: Site) -> None:
    one = staging.digest({"a": b"1", "b": b"2"})
    assert one == staging.digest({"b": b"2", "a": b"1"})
    for other in ({"a": b"12"}, {"a": b"1", "c": b"2"}, {"a": b"1", "b": b"3"}, {"a": b"1 1 b 1 2"}):
        assert one != staging.digest(other)
