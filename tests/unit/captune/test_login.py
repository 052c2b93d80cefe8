"""A person who signed in with `aws login` has credentials in every command, also when their quarter of an hour is over."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from captune import account

IDENTITY = "arn:aws:iam::123456789012:user/owner"


class SignIn(BaseHTTPRequestHandler):
    """AWS Sign-In: new credentials for a refresh token that comes with a proof of the key."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        proved = self.headers["DPoP"].count(".") == 2 and asked["refreshToken"] == "refresh-1"
        keys = {"accessKeyId": "AKIDNEW", "secretAccessKey": "new", "sessionToken": "new"}  # pragma: allowlist secret
        answer = {"accessToken": keys, "tokenType": "aws_sigv4", "expiresIn": 900, "refreshToken": "refresh-2"}
        self.send_response(200 if proved else 400)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@pytest.mark.parametrize(("minutes", "key"), [(10, "AKIDOLD"), (-10, "AKIDNEW")])
def test_a_profile_of_aws_login_has_credentials_and_renews_them(
    minutes: int, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    known = {"accessKeyId": "AKIDOLD", "secretAccessKey": "old", "sessionToken": "old"}  # pragma: allowlist secret
    keys = {**known, "accountId": "123456789012"}
    token = {
        "accessToken": {**keys, "expiresAt": until.strftime("%Y-%m-%dT%H:%M:%SZ")},
        "clientId": "arn:aws:signin:::devtools/same-device",
        "refreshToken": "refresh-1",
        "dpopKey": private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
    }
    cached = tmp_path / f"{hashlib.sha256(IDENTITY.encode()).hexdigest()}.json"
    cached.write_text(json.dumps(token), "utf-8")
    (tmp_path / "config").write_text(f"[profile owner]\nlogin_session = {IDENTITY}\n", "utf-8")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "owner")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(tmp_path))

    with HTTPServer(("127.0.0.1", 0), SignIn) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SIGNIN", f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, daemon=True).start()
        found = account.session("us-east-1").get_credentials().get_frozen_credentials()
        server.shutdown()

    assert (found.access_key, json.loads(cached.read_text("utf-8"))["accessToken"]["accessKeyId"]) == (key, key)
