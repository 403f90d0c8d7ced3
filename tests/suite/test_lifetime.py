"""A gateway does not believe tokens that outlive its memory of revocations."""
import denizen


def test_a_token_that_lives_longer_than_revocations_are_remembered_is_not_believed():
    suite = denizen.Suite(replicas="")
    (suite.data / "config").mkdir()
    (suite.data / "config/claims.env").write_text("DENIZEN_TOKEN_LIFETIME_SEC=600\n")
    try:
        suite.up()
        api = suite.client()
        session = api.post("/v1/sessions", {"email": suite.credentials["admin_email"], "password": suite.credentials["admin_password"]}).json
        assert session["expires_in"] == 600
        assert api.post("/v1/tokens/introspect", {"token": session["access_token"]}).json == {"active": False}
        (suite.data / "config/gateway.env").write_text("DENIZEN_TOKEN_LIFETIME_SEC=600\n")
        suite.down()
        suite.launcher("up", "--detach")
        api = suite.client()
        assert api.post("/v1/tokens/introspect", {"token": session["access_token"]}).json["active"] is True
    finally:
        suite.remove()
