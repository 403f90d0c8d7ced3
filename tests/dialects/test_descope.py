"""The Descope dialect: its real Node SDK, and what only shows on the wire."""
import os
import re
import subprocess
from pathlib import Path

import pytest
from denizen import SECRETS
from helpers import PASSWORD, made, new_session, new_user, refused

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def signed_in(project):
    """A user with a session of this project."""
    return new_session(project, new_user(project, password=PASSWORD, name="Ada"), ip_address="203.0.113.7")


@pytest.fixture(scope="module")
def secret(project):
    return project.key


def bearer(*parts):
    return {"Authorization": "Bearer " + ":".join(parts)}


@pytest.mark.parametrize("base", ["", "/descope", "/descope/"], ids=["natural paths", "mount", "mount and slash"])
def test_the_real_sdk(suite, project, signed_in, base):
    user, tokens = signed_in
    environment = {**os.environ, "BASE_URL": f"http://127.0.0.1:{suite.port}{base}", "PROJECT_ID": project.project_id, "MANAGEMENT_KEY": project.key,
                   "REFRESH_TOKEN": tokens["refresh_token"], "USER_ID": user["id"], "OTHER_PROJECT_ID": suite.credentials["project_id"]}
    done = subprocess.run(["node", "--test", "--test-reporter=tap", "descope.test.mjs"], cwd=HERE, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"^# pass (\d+)", done.stdout, re.M)
    assert passed and int(passed.group(1)) >= 6, done.stdout[-2000:]


def test_its_host_serves_nothing_else(suite, project, signed_in):
    client = suite.client(key=None, check=False)
    at_host = {"Host": "descope.example", **bearer(project.project_id, project.key)}
    assert client.get(f"/v1/mgmt/user?userId={signed_in[0]['id']}", headers=at_host).status == 200
    reply = client.get("/v1/users", headers=at_host)
    assert reply.status == 404 and reply.json["errorCode"] == "E011001", reply
    assert client.get("/v1/users", headers={"Authorization": "Bearer " + project.key}).status == 200
    client.close()


def test_refusals_have_its_shape(suite, project):
    client = suite.client(key=None, check=False)
    key = bearer(project.project_id, project.key)
    cases = [("GET", "/v1/mgmt/nothing", key, None, 404), ("DELETE", "/v1/mgmt/user", key, None, 405), ("GET", "/descope/v1/mgmt/user", {}, None, 401),
             ("GET", "/descope", key, None, 404), ("POST", "/v1/mgmt/user/create", key, b"{", 400), ("POST", "/v1/mgmt/user/create", key, b"x" * 2000000, 413),
             ("GET", "/v1/mgmt/user?loginId=%ff", key, None, 400), ("PROPFIND", "/v1/mgmt/user", key, None, 405), ("GET", "/v1/mgmt/user?loginId=a;b", {**key, "Host": ""}, None, 400)]
    for method, path, headers, body, status in cases:
        reply = client.call(method, path, headers={"Content-Type": "application/json", **headers}, raw=body)
        assert reply.status == status, (method, path, reply)
        assert set(reply.json) == {"errorCode", "errorDescription", "errorMessage"} and reply.json["errorCode"].startswith("E"), reply
        assert ("allow" in reply.headers) == (status == 405) and ("www-authenticate" in reply.headers) == (status == 401)
    refused(client.get("/v1/nothing"), 404, "not_found")  # the native API is asked, and answers in its own shape
    client.close()


def test_lenient_where_the_clients_are(suite, project, signed_in):
    client = suite.client(key=None, check=False)
    key = bearer(project.project_id, project.key)
    path = f"v1/mgmt/user?loginId=&userId={signed_in[0]['id']}&unknown=1"
    for base in ("//", "/descope//", "/descope/"):
        assert client.get(base + path, headers=key).status == 200, base
    assert client.get("//v1/users", headers={"Authorization": "Bearer " + project.key}).status == 400
    body = {"loginId": signed_in[0]["email"], "email": signed_in[0]["email"], "displayName": None, "roleNames": [], "setActive": True, "ssoAppIDs": None}
    assert client.post("/v1/mgmt/user/update", body, headers=key).json["user"]["name"] == ""
    assert client.get("/v1/mgmt/user?identifier=" + signed_in[0]["email"], headers=key).status == 200
    client.close()


def test_a_keyed_update_is_repeated_once(suite, project):
    """Two steps for one request: repeated with its key, it is answered, not done again."""
    client = suite.client(key=None, check=False)
    user = new_user(project, name="Before")
    headers = {**bearer(project.project_id, project.key), "Idempotency-Key": "update-" + user["id"]}
    body = {"loginId": user["email"], "email": user["email"], "displayName": "After"}
    first = client.post("/v1/mgmt/user/update", body, headers=headers)
    assert first.status == 200 and first.json["user"]["name"] == "After", first
    assert project.patch(f"/v1/users/{user['id']}", {"name": "Later"}).status == 200
    again = client.post("/v1/mgmt/user/update", body, headers=headers)
    assert again.status == 200 and again.json == first.json, again
    assert project.get(f"/v1/users/{user['id']}").json["name"] == "Later"
    client.close()


def test_roles_are_read(suite, project):
    client = suite.client(key=None, check=False)
    user = new_user(project)
    made(project.post("/v1/roles", {"code": "editor"}))
    assert project.put(f"/v1/users/{user['id']}/roles", {"roles": ["editor"]}).status == 200
    assert client.get("/v1/mgmt/user?userId=" + user["id"], headers=bearer(project.project_id, project.key)).json["user"]["roleNames"] == ["editor"]
    client.close()


def test_users_and_keys_are_not_mixed_up(suite, project, signed_in):
    """A token opens no management route, of whatever kind; a token of either kind names its user."""
    user, tokens = signed_in
    client = suite.client(key=None, check=False)
    for token in (tokens["refresh_token"], tokens["access_token"]):
        assert client.get("/v1/auth/me", headers=bearer(project.project_id, token)).json["userId"] == user["id"]
        assert client.get("/v1/auth/me", headers=bearer(project.project_id, token, project.key)).status == 200
        assert client.get(f"/v1/mgmt/user?userId={user['id']}", headers=bearer(project.project_id, token)).status == 401
        assert client.get("/v1/auth/me", headers=bearer(suite.credentials["project_id"], token)).status == 401
    client.close()


def test_pages_of_an_allowed_origin(suite):
    client = suite.client(key=None, check=False)
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    reply = client.call("OPTIONS", "/v1/mgmt/user/create", headers={"Origin": "https://app.example", **asked})
    assert reply.status == 204 and reply.headers["access-control-allow-origin"] == "https://app.example", reply.headers
    assert "POST" in reply.headers["access-control-allow-methods"] and "Authorization" in reply.headers["access-control-allow-headers"]
    assert reply.headers["connection"] == "keep-alive"
    assert client.call("OPTIONS", "/v1/mgmt/user/create", headers={"Origin": "https://evil.example", **asked}).status == 405
    assert client.call("OPTIONS", "/v1/users", headers={"Origin": "https://app.example", **asked}).status == 405
    client.close()


def test_no_secret_in_a_log(suite, project, signed_in):
    """Runs last: what was presented as a credential in any of the forms stands in no log."""
    wanted = {secret for secret in SECRETS | {project.key, signed_in[1]["refresh_token"], signed_in[1]["access_token"]} if len(secret) > 20}
    logs = [path for path in (suite.data / "logs").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in logs) > 10000
    for path in logs:
        text = path.read_text(errors="replace")
        assert not [secret[:8] for secret in wanted if secret in text], path
