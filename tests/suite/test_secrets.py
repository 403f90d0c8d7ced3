"""No password, key or token that the tests used stands in a log or in the database. Runs last (conftest.py)."""
import os
import stat
import subprocess

import pytest
from denizen import SECRETS
from helpers import PASSWORD, made, new_key_material, new_session, refresh, good, sign_in, unique


def forms(secret):
    """How a secret could stand in a text: as it is and in the hexadecimal of a bytea."""
    return secret, secret.encode().hex()


@pytest.fixture(scope="module")
def patterns(suite, tmp_path_factory):
    """A file with all secrets of this run, after a few of every kind were surely used."""
    client = suite.new_project("canary")
    new_key_material(client)
    user, tokens = new_session(client)
    tokens = good(refresh(client, tokens["refresh_token"]))
    sign_in(client, user["email"], unique("wrong password "))
    made(client.post("/v1/users", {"email": unique() + "@example.com", "password": unique("canary password ")}, headers={"Idempotency-Key": unique()}))
    client.close()
    suite.settle()
    assert len(SECRETS) > 8 and PASSWORD in SECRETS
    path = tmp_path_factory.mktemp("secrets") / "patterns"
    path.write_text("".join(form + "\n" for secret in sorted(SECRETS) if "\n" not in secret for form in forms(secret)))
    return path


def found(patterns, path):
    """Beginnings of the secrets in a file, and the lines they stand in, shortened."""
    done = subprocess.run(["grep", "-a", "-o", "-b", "-F", "-f", patterns, path], capture_output=True)
    assert done.returncode in (0, 1), done.stderr
    return sorted({line.split(b":", 1)[1][:12] for line in done.stdout.splitlines()})


def test_the_search_finds_what_is_there(patterns, tmp_path):
    """The test below would otherwise pass with a search that finds nothing."""
    for i, form in enumerate(forms(PASSWORD)):
        (tmp_path / str(i)).write_text(f"...{form}...")
        assert found(patterns, tmp_path / str(i))


def test_logs_hold_no_secret(suite, patterns):
    logs = [path for path in (suite.data / "logs").rglob("*") if path.is_file()]
    assert len(logs) >= 7 and sum(path.stat().st_size for path in logs) > 10000
    assert {path.name: found(patterns, path) for path in logs if found(patterns, path)} == {}


def test_logs_are_lines_of_json(suite):
    """What clients sent cannot end a line or begin another."""
    import json
    for path in (suite.data / "logs").glob("*.log"):
        if path.name.split(".")[0] in ("identity", "claims", "session", "audit", "gateway"):
            for line in path.read_text(errors="strict").splitlines():
                assert isinstance(json.loads(line), dict), (path, line)


def test_the_database_holds_no_secret(suite, patterns, tmp_path):
    dump = tmp_path / "dump"
    done = suite.postgres("pg_dump", "-f", str(dump))
    assert done.returncode == 0, done.stderr
    assert dump.stat().st_size > 100000
    names = {}
    for beginning in found(patterns, dump):
        with open(dump, errors="replace") as file:
            table = None
            for line in file:
                if line.startswith("COPY "):
                    table = line.split()[1]
                if beginning.decode(errors="replace") in line:
                    names[beginning] = table
                    break
    assert names == {}, f"secrets by their beginnings, and the tables that hold them: {dict(list(names.items())[:5])}"


def test_no_process_shows_a_secret_in_its_command_or_environment(suite, patterns, tmp_path):
    for process in suite.status()["processes"]:
        for name in ("cmdline", "environ"):
            copy = tmp_path / f"{process['name']}.{name}"
            copy.write_bytes(open(f"/proc/{process['pid']}/{name}", "rb").read())
            assert not found(patterns, copy), (process["name"], name)
            for secret in (suite.data / "secrets").iterdir():
                assert secret.read_bytes().strip() not in copy.read_bytes(), (process["name"], name, secret.name)


def test_files_of_secrets_are_for_their_owner_only(suite):
    files = [suite.data / "credentials.json", *(suite.data / "secrets").iterdir(), *(suite.data / "bus/secret").iterdir()]
    assert len(files) >= 10
    for path in files:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
    assert not (suite.data / "run/bootstrap.json").exists()


def test_credentials_name_what_the_owner_needs(suite):
    assert suite.credentials.keys() == {"base_url", "project_id", "management_key", "api_key", "client_id", "client_secret", "admin_email", "admin_password"}
