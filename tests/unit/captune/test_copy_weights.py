"""`captune copy-weights`: what arrives in the bucket of moto, from a local server behind the hub's addresses, and what a repeated call copies."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
import typer
from moto import mock_aws

from captune import account, copy_weights
from preflight.account.weights import of_user
from preflight.settings import RunSettings
from rehearsal.sagemaker.validation import service_model, violations
from stacks.configuration.catalog import BASE_MODELS, weights_of
from tests.doubles.aws_account import Answers, deployed, said
from tests.doubles.lambda_fakes import refusal
from tests.doubles.preflight_site import SETTINGS

LLAMA = BASE_MODELS["llama-2-7b"]
BUCKET, PREFIX = "bucket", "weights/llama-2-7b/"
URI = f"s3://{BUCKET}/{PREFIX}"
LARGE = bytes(range(256)) * 36_000  # 9.2 MB: more than one part of an upload
MODEL = {"config.json": b"{}", "tokenizer.model": b"words", "LICENSE": b"the licence", "model-1.safetensors": LARGE}
BESIDE = {"pytorch_model.bin": b"the same weights", "original/consolidated.pth": b"and again"}
OUTPUT = service_model("sagemaker").operation_model("CreateHubContentPresignedUrls").output_shape


class Files(ThreadingHTTPServer):
    """The files behind the addresses. `breaks` holds after how many bytes the next connections for *.safetensors break."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {**MODEL, **BESIDE}
        self.breaks: list[int] = []
        self.ranges: list[str] = []

    def handle_error(self, *_: Any) -> None:
        """A client that closes a connection early is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: Files

    def do_GET(self) -> None:
        name, wanted = self.path.removeprefix("/model/"), self.headers.get("Range", "")
        content = self.server.files[name][int(wanted.removeprefix("bytes=").removesuffix("-") or 0) :]
        self.server.ranges += [wanted] if wanted else []
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        broken = self.server.breaks.pop(0) if self.server.breaks and name.endswith(".safetensors") else None
        self.wfile.write(content[:broken])

    def log_message(self, *words: object) -> None:
        pass


class Site:
    """A deployed project with its bucket, JumpStart's hub, and a cdk.json of its own."""

    def __init__(self, files: Files, s3: Any, cdk_json: Path) -> None:
        self.files, self.s3, self.cdk_json = files, s3, cdk_json
        self.hub = Answers("sagemaker", create_hub_content_presigned_urls=self._addresses)
        self.session = deployed()
        self.session.services |= {"sagemaker": self.hub, "s3": s3}

    def _addresses(self, NextToken: str = "0", **_: Any) -> dict[str, Any]:
        """A page of two, in the form of botocore's model."""
        start, names = int(NextToken), list(self.files.files)
        place = f"127.0.0.1:{self.files.server_port}"
        listed = [{"LocalPath": f"/model/{name}", "Url": f"http://{place}/model/{name}"} for name in names]
        page = {"AuthorizedUrlConfigs": listed[start : start + 2]}
        more = {"NextToken": str(start + 2)} if start + 2 < len(names) else {}
        secure = [{**one, "Url": one["Url"].replace("http:", "https:")} for one in page["AuthorizedUrlConfigs"]]
        assert violations(OUTPUT, {"AuthorizedUrlConfigs": secure, **more}) == []
        return {**page, **more}

    def copied(self, *words: str) -> str:
        return said("copy-weights", *(words or ("--yes",)))[1]

    def objects(self) -> dict[str, bytes]:
        keys = [one["Key"] for one in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        return {key: self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

    def times_written(self) -> dict[str, int]:
        keys = [one["Key"] for one in self.s3.list_object_versions(Bucket=BUCKET).get("Versions", [])]
        return {key.removeprefix(PREFIX): keys.count(key) for key in keys}

    def setting(self) -> str:
        return str(json.loads(self.cdk_json.read_text("utf-8"))["context"]["weights_uri"])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The project, with the licence accepted and no patience with broken connections."""
    cdk_json = tmp_path / "cdk.json"
    cdk_json.write_text(
        (account.PROJECT / "cdk.json").read_text("utf-8").replace('"accept_eula": false', '"accept_eula": true')
    )
    monkeypatch.setattr(account, "PROJECT", tmp_path)
    monkeypatch.setattr(copy_weights, "_WAITS", (0.0, 0.0))
    with mock_aws(), Files() as files:
        Thread(target=files.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        made = Site(files, s3, cdk_json)
        monkeypatch.setattr(account, "session", lambda region: made.session)
        yield made
        files.shutdown()


def test_the_model_alone_arrives_and_becomes_the_setting(site: Site) -> None:
    before = site.cdk_json.read_text("utf-8")
    told = site.copied()
    assert site.objects() == {PREFIX + name: content for name, content in MODEL.items()}
    assert "4 files, 0.0 GB" in told and "$0.00 a month ($0.023 a GB in us-east-1)" in told and "make deploy" in told
    assert site.cdk_json.read_text("utf-8") == before.replace('"weights_uri": ""', f'"weights_uri": "{URI}"')
    asked = site.hub.called("create_hub_content_presigned_urls")[0]
    assert asked["AccessConfig"] == {"AcceptEula": True, "ExpectedS3Url": weights_of(LLAMA, "us-east-1", "").uri}


def test_a_second_call_copies_what_has_another_size(site: Site) -> None:
    site.copied()
    site.files.files |= {"config.json": b'{"changed": true}', "added.json": b"[]"}
    site.copied()
    assert site.times_written() == {**dict.fromkeys(MODEL, 1), "config.json": 2, "added.json": 1}
    assert "Use it" in site.copied("--region", "us-east-1")  # nothing is missing, so nothing is asked


def test_a_broken_connection_goes_on_where_it_broke(site: Site) -> None:
    site.files.breaks = [len(LARGE), 1_000_000, 2_000_000]  # after the look at its size
    site.copied()
    assert site.objects()[f"{PREFIX}model-1.safetensors"] == LARGE
    assert site.files.ranges == ["bytes=1000000-", "bytes=3000000-"]


def test_an_interrupted_copy_resumes(site: Site) -> None:
    site.files.breaks = [len(LARGE), 1_000_000, 0, 0, 0]
    told = site.copied()
    assert "stopped at 1,000,000 of 9,216,000 bytes" in told and "captune copy-weights again" in told
    assert set(site.times_written()) == set(MODEL) - {"model-1.safetensors"} and site.setting() == ""
    assert not site.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    site.files.breaks = []
    site.copied()
    assert site.setting() == URI
    assert site.times_written() == dict.fromkeys(MODEL, 1)


def test_a_file_that_changes_while_it_is_copied_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_weights.Hub, "sizes", lambda hub: {"config.json": 3})
    assert "config.json changed while it was copied" in site.copied()
    assert site.objects() == {} and site.setting() == ""


@pytest.mark.parametrize(
    ("denied", "named"),
    [
        ("hub", "sagemaker:CreateHubContentPresignedUrls on meta-textgeneration-llama-2-7b (AccessDeniedException"),
        ("list_objects_v2", f"s3:ListBucket on {BUCKET} (AccessDenied"),
        ("upload_fileobj", f"s3:PutObject on {URI}config.json (AccessDenied"),
    ],
)
def test_a_missing_permission_is_named(site: Site, monkeypatch: pytest.MonkeyPatch, denied: str, named: str) -> None:
    def deny(*_: Any, **__: Any) -> Any:
        raise refusal("AccessDenied")

    if denied == "hub":
        site.hub.troubles["create_hub_content_presigned_urls"] = [refusal("AccessDeniedException")]
    elif denied == "list_objects_v2":
        site.s3.meta.events.register("before-call.s3.ListObjectsV2", deny)
    else:
        monkeypatch.setattr(site.s3, denied, deny)
    assert f"AWS does not allow you {named}" in site.copied() and site.setting() == ""


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ('"accept_eula": true', '"accept_eula": false', "set accept_eula to true in cdk.json"),
        ('"weights_uri": ""', '"weights_uri": "s3://mine/one/"', "weights_uri names s3://mine/one/"),
        ('"llama-2-7b"', '"qwen-2.5-7b"', "weights_uri"),
    ],
)
def test_settings_that_need_no_copy_are_named(site: Site, setting: str, value: str, named: str) -> None:
    site.cdk_json.write_text(site.cdk_json.read_text("utf-8").replace(setting, value))
    assert named in site.copied() and not site.objects()


def test_nothing_is_copied_without_a_yes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(typer, "confirm", asked.append)
    assert "Nothing was copied" in site.copied("--region", "us-east-1") and not site.objects()
    assert "0.0 GB pass through this machine" in asked[0]


def test_weights_in_another_form_are_named(site: Site) -> None:
    del site.files.files["model-1.safetensors"]
    assert "no config.json beside *.safetensors" in site.copied() and "pytorch_model.bin" in site.copied()


def test_preflight_takes_what_arrives(site: Site) -> None:
    base = SETTINGS["base_model"] | {"weights_uri": URI, "own_weights": True, "requires_eula": False}
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 400,
    }
    configuration = {"architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2, "max_position_embeddings": 2048}
    site.files.files = {"config.json": json.dumps(shape | configuration).encode(), "tokenizer.model": b"words"}
    site.files.files |= {
        "model.safetensors": bytes(2 * 125_248),
        "consolidated.pth": bytes(2_000_000),
        "serving.properties": b"",
    }
    site.copied()
    model, _ = of_user(site.s3, RunSettings.from_json(json.dumps(SETTINGS | {"base_model": base})))
    assert model.parameters == 125_248


@pytest.mark.parametrize("words", [("--yes", "--region", "us-east-1"), ("--yes",)])
def test_a_setting_that_cannot_be_changed_is_printed(site: Site, words: tuple[str, ...]) -> None:
    if words == ("--yes",):
        site.cdk_json.write_text(site.cdk_json.read_text("utf-8").replace('"weights_uri": "",', ""))
    before = site.cdk_json.read_text("utf-8")
    assert f'make deploy ARGS="-c weights_uri={URI}"' in site.copied(*words)
    assert site.cdk_json.read_text("utf-8") == before
