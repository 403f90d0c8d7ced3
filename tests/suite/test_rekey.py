"""Another key-encryption key, as docs/operations.md says: no token is lost, and the keys stay what they are."""
import secrets
import subprocess

import denizen
from helpers import good, is_active, made, new_session, refresh, refused, sign_in
from test_tokens import key_set, verified

CLAIMS = denizen.BIN / "services/claims/denizen-claims"


def rekey(suite, *arguments):
    return subprocess.run([CLAIMS, "rekey", *arguments], capture_output=True, text=True, timeout=60,
                          env={"DENIZEN_DB_FILE": str(suite.data / "secrets/claims.db")})


def test_signing_keys_move_to_another_key_encryption_key(tmp_path):
    suite = denizen.Suite(replicas="").up()
    try:
        kek, new = suite.data / "secrets/kek", tmp_path / "kek.new"
        new.write_text(secrets.token_hex(32) + "\n")
        project = suite.new_project()
        user, before = new_session(project)
        keys = key_set(project)
        # The first project's keys are made when claims comes to its event.
        denizen.eventually(lambda: suite.psql("SELECT count(*) FROM claims.signing_key") == ["4"])
        assert rekey(suite).returncode == 2 and rekey(suite, "--old", new, "--new", new).returncode == 1
        done = rekey(suite, "--old", kek, "--new", new)
        assert (done.returncode, done.stderr) == (0, "rekey: 4 keys are sealed anew, 0 were already\n")
        made(sign_in(project, user["email"]))
        late = suite.new_project()
        _, late_session = new_session(late)
        old = tmp_path / "kek.old"
        old.write_text(kek.read_text())
        kek.write_text(new.read_text())
        suite.down()
        project.close()
        late.close()
        suite.launcher("up", "--detach")
        assert key_set(project) == keys and is_active(project, before["access_token"])
        after = good(refresh(project, before["refresh_token"]))
        verified(project, suite, after["access_token"])
        refused(refresh(late, late_session["refresh_token"]), 500, "internal")
        assert rekey(suite, "--old", old, "--new", kek).stderr == "rekey: 2 keys are sealed anew, 4 were already\n"
        verified(late, suite, good(refresh(late, late_session["refresh_token"]))["access_token"])
    finally:
        suite.remove()
