"""A corpus that is larger than Preflight holds, through the deployed functions: S3's own ranges, the roles' rights, StageInput's second reading."""

from __future__ import annotations

from itertools import islice

import pytest

from common.contracts import run_folder
from common.names import run_name
from preflight.texts import text_file
from rehearsal.account.cloud import Cloud
from verification.experiments.large_corpus import articles

KEY = f"{run_folder.CORPORA}large.txt"


@pytest.mark.slow
def test_a_large_corpus_is_staged_as_it_was_checked_and_learnt_from(cloud: Cloud) -> None:
    assert cloud.deployment is not None
    s3, bucket = cloud.client("s3"), cloud.deployment.bucket
    content = "".join(islice(articles(titled=True), 1400)).encode()
    assert len(content) > text_file.MAXIMUM_BYTES
    s3.put_object(Bucket=bucket, Key=KEY, Body=content)

    execution = cloud.start({"corpus": KEY, "samplesPerPrompt": 0})
    cloud.settle(execution, timeout=300)

    assert execution.status == "SUCCEEDED", execution.cause
    staged = s3.get_object(Bucket=bucket, Key=run_folder.key(run_name(execution.name), run_folder.CORPUS))[
        "Body"
    ].read()
    assert 0.85 < len(staged) / len(content) < 0.95, "a tenth is held out, and all else learnt"
