"""Access tokens judged by an independent verifier; forged tokens (attack rows A01 to A05)."""
import base64
import hashlib
import json
import secrets
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from denizen import eventually
from helpers import good, is_active, new_session, payload, refresh, refused
from test_sessions import uuid_of

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(document):
    return encode(json.dumps(document, separators=(",", ":")).encode())


def key_set(client):
    return good(client.get(f"/v1/projects/{client.project_id}/jwks.json", headers={"Authorization": None}))["keys"]


def verified(client, suite, token):
    """The payload, checked by PyJWT against the published keys."""
    kid = jwt.get_unverified_header(token)["kid"]
    key = next(key for key in key_set(client) if key["kid"] == kid)
    return jwt.decode(token, jwt.PyJWK(key).key, algorithms=["ES256"], audience=client.project_id,
                      issuer=f"http://127.0.0.1:{suite.port}/v1/projects/{client.project_id}",
                      options={"require": ["iss", "sub", "aud", "exp", "iat", "jti"]})


# ---- what is issued


def test_an_independent_verifier_accepts_the_token(suite, project):
    user, tokens = new_session(project)
    claims = verified(project, suite, tokens["access_token"])
    assert claims["sub"] == user["id"] and claims["sid"] == tokens["session"]["id"] and claims["tv"] >= 0
    assert claims["email"] == user["email"] and claims["exp"] - claims["iat"] == tokens["expires_in"]
    header = jwt.get_unverified_header(tokens["access_token"])
    assert header.keys() == {"alg", "typ", "kid"} and header["alg"] == "ES256" and header["typ"] == "at+jwt"


def test_the_key_set_is_public_and_holds_no_private_part(suite, project):
    new_session(project)
    for key in key_set(project):
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
        assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("EC", "P-256", "ES256", "sig")
        assert len(decode(key["x"])) == 32 and len(decode(key["y"])) == 32
        thumbprint = json.dumps({name: key[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
        assert key["kid"] == encode(hashlib.sha256(thumbprint.encode()).digest())
    for identifier in ("prj_" + "0" * 26, "prj_x", "nonsense"):
        refused(project.get(f"/v1/projects/{identifier}/jwks.json"), 404, "not_found")


def test_no_two_tokens_have_the_same_id(project):
    _, tokens = new_session(project)
    seen = {payload(tokens["access_token"])["jti"]}
    for _ in range(5):
        tokens = good(refresh(project, tokens["refresh_token"]))
        seen.add(payload(tokens["access_token"])["jti"])
    assert len(seen) == 6


def test_introspection_tells_what_the_token_says(project):
    user, tokens = new_session(project)
    claims = payload(tokens["access_token"])
    shown = good(project.post("/v1/tokens/introspect", {"token": tokens["access_token"]}))
    assert shown == {"active": True, "sub": user["id"], "sid": tokens["session"]["id"], "iss": claims["iss"], "aud": claims["aud"],
                     "exp": claims["exp"], "iat": claims["iat"], "token_type": "Bearer", "claims": claims}
    assert good(project.post("/v1/tokens/introspect", {"token": tokens["access_token"]})) == shown


@pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": None}, {"token": 1}])
def test_introspection_needs_a_token(project, body):
    refused(project.post("/v1/tokens/introspect", body), 400, "invalid_argument", "token")


# ---- A01, A02: algorithms

HASHES = {"HS256": hashes.SHA256, "HS384": hashes.SHA384, "HS512": hashes.SHA512}


@pytest.fixture(scope="module")
def genuine(suite):
    """A project, a valid token of it, and its published key."""
    client = suite.new_project("genuine")
    _, tokens = new_session(client)
    client.token = tokens["access_token"]
    client.header = jwt.get_unverified_header(client.token)
    client.jwk = next(key for key in key_set(client) if key["kid"] == client.header["kid"])
    yield client
    client.close()


def never(client, token):
    """The token is refused, and the genuine one still works."""
    assert good(client.post("/v1/tokens/introspect", {"token": token})) == {"active": False}, token[:200]


def mac(algorithm, secret, signing_input):
    signer = hmac.HMAC(secret, HASHES[algorithm]())
    signer.update(signing_input.encode())
    return encode(signer.finalize())


def test_tokens_without_a_signature_are_refused(genuine):
    header, body, signature = genuine.token.split(".")
    for algorithm in ("none", "None", "nOnE", "NONE", "", None, 0, "ES256"):
        changed = compact({**genuine.header, "alg": algorithm})
        for ending in ("", ".", "." + signature[:10], "." + encode(b"\0" * 64)):
            never(genuine, f"{changed}.{body}{ending}")
    for text in (f"{header}.{body}", f"{header}.{body}.", f"{header}..{signature}", f".{body}.{signature}", "..", ".", "x"):
        never(genuine, text)
    without = {name: value for name, value in genuine.header.items() if name != "alg"}
    never(genuine, f"{compact(without)}.{body}.{signature}")


def test_the_public_key_is_no_secret(genuine):
    public = jwt.PyJWK(genuine.jwk).key
    formats = serialization.PublicFormat.SubjectPublicKeyInfo
    secrets_to_try = [
        public.public_bytes(serialization.Encoding.PEM, formats), public.public_bytes(serialization.Encoding.DER, formats),
        public.public_bytes(serialization.Encoding.PEM, formats).strip(), json.dumps(genuine.jwk).encode(),
        json.dumps(genuine.jwk, separators=(",", ":")).encode(), decode(genuine.jwk["x"]), genuine.jwk["x"].encode(),
        decode(genuine.jwk["x"]) + decode(genuine.jwk["y"]), b"", b"\0" * 32, genuine.jwk["kid"].encode()]
    body = genuine.token.split(".")[1]
    for algorithm in HASHES:
        for secret in secrets_to_try:
            signing_input = f"{compact({**genuine.header, 'alg': algorithm})}.{body}"
            never(genuine, f"{signing_input}.{mac(algorithm, secret, signing_input)}")


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES384", "ES512", "ES256K", "EdDSA", "es256", "ES256 "])
def test_another_algorithm_in_the_header_is_refused(genuine, algorithm):
    _, body, signature = genuine.token.split(".")
    never(genuine, f"{compact({**genuine.header, 'alg': algorithm})}.{body}.{signature}")


# ---- A03: key names and headers that point elsewhere


def signed(private, header, claims):
    signing_input = f"{compact(header)}.{compact(claims)}"
    r, s = decode_dss_signature(private.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signing_input}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def public_jwk(private, **members):
    numbers = private.public_key().public_numbers()
    key = {"crv": "P-256", "kty": "EC", "x": encode(numbers.x.to_bytes(32, "big")), "y": encode(numbers.y.to_bytes(32, "big"))}
    return {**key, **members}


def test_key_names_lead_nowhere(suite, genuine):
    mine = ec.generate_private_key(ec.SECP256R1())
    foreign = suite.new_project("foreign")
    new_session(foreign)
    claims = payload(genuine.token)
    for kid in ("../../etc/passwd", "' OR 1=1--", "x" * 7000, "a\0b", "", None, 7, [], genuine.header["kid"] + "x",
                key_set(foreign)[0]["kid"], genuine.header["kid"]):
        never(genuine, signed(mine, {**genuine.header, "kid": kid}, claims))
    without = {name: value for name, value in genuine.header.items() if name != "kid"}
    never(genuine, signed(mine, without, claims))
    foreign.close()


def test_a_key_in_the_header_is_not_used(genuine):
    mine = ec.generate_private_key(ec.SECP256R1())
    claims = payload(genuine.token)
    jwk = public_jwk(mine, kid="mine", alg="ES256", use="sig")
    for extra in ({"jwk": jwk}, {"jwk": jwk, "kid": "mine"}, {"jku": "http://127.0.0.1:9/jwks.json"},
                  {"x5u": "http://127.0.0.1:9/cert"}, {"x5c": ["MIIB"]}, {"x5t": "x"}):
        never(genuine, signed(mine, {**genuine.header, **extra}, claims))


# ---- A04: other spellings of a valid token


def spellings(token):
    header, body, signature = token.split(".")
    raw = decode(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]
    yield from (token + "=", token + "==", token + "\n", token + " ", " " + token, token + "!!", token + "." + signature, token + ".",
                f"{header}=.{body}.{signature}", f"{header}.{body}=.{signature}", f"{header}.{body}.{spare}", token[:-1], token[:-4],
                token[:80], token + "A", token.replace(".", "..", 1), token.replace(".", "\n.", 1))
    for swapped in (token.replace("-", "+"), token.replace("_", "/")):
        if swapped != token:
            yield swapped
    yield f"{header}.{body}.{encode(encode_dss_signature(r, s))}"
    yield f"{header}.{body}.{encode(raw + b'x')}"
    yield f"{header}.{body}.{encode(raw[32:] + raw[:32])}"
    yield f"{header}.{body}.{encode(raw[:63] + bytes([raw[63] ^ 1]))}"
    for pair in ((0, 0), (r, 0), (0, s), (r, P256_ORDER), (P256_ORDER, s)):
        yield f"{header}.{body}.{encode(b''.join(part.to_bytes(32, 'big') for part in pair))}"


def test_only_the_canonical_spelling_is_accepted(genuine):
    count = 0
    for token in spellings(genuine.token):
        never(genuine, token)
        count += 1
    assert count >= 25 and is_active(genuine, genuine.token)


def test_the_mirrored_signature_dies_with_its_session(suite, genuine):
    """(r, n - s) signs the same text: whether it is accepted or not, ending the session must refuse it as well."""
    _, tokens = new_session(genuine)
    header, body, signature = tokens["access_token"].split(".")
    raw = decode(signature)
    mirrored = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    twin = f"{header}.{body}.{encode(mirrored)}"
    is_active(genuine, twin)
    good(genuine.delete("/v1/sessions/" + tokens["session"]["id"]), 204)
    eventually(lambda: not is_active(genuine, twin) and not is_active(genuine, tokens["access_token"]), 1)


def test_each_changed_byte_is_noticed(genuine):
    """One character of every tenth place is another: no such token is accepted."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for i in range(0, len(genuine.token), 10):
        if genuine.token[i] == ".":
            continue
        other = alphabet[(alphabet.index(genuine.token[i]) + 17) % 64]
        never(genuine, genuine.token[:i] + other + genuine.token[i + 1:])


# ---- A05: claims, signed with a key that the project really has


@pytest.fixture(scope="module")
def planted(suite):
    """A project and a private key of ours whose public half it publishes: the database's owner planted it."""
    project = suite.new_project("planted")
    _, tokens = new_session(project)
    project.token, project.header = tokens["access_token"], jwt.get_unverified_header(tokens["access_token"])
    private = ec.generate_private_key(ec.SECP256R1())
    jwk = public_jwk(private)
    kid = encode(hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest())
    now = int(time.time())
    suite.psql("INSERT INTO claims.signing_key (project_id, kid, algorithm, x, y, state, created_at_us, retires_at_us) VALUES "
               f"('{uuid_of(project.project_id)}', '{kid}', 'ES256', decode('{decode(jwk['x']).hex()}', 'hex'), "
               f"decode('{decode(jwk['y']).hex()}', 'hex'), 'retiring', {now * 1000000}, {(now + 3600) * 1000000})")
    project.private, project.own_header = private, {**project.header, "kid": kid}
    yield project
    project.close()


def forge(planted, **changes):
    claims = payload(planted.token) | changes
    return signed(planted.private, planted.own_header, {name: value for name, value in claims.items() if value != "absent"})


def test_the_planted_key_signs_good_tokens(planted):
    """Without this the refusals below would prove nothing."""
    assert is_active(planted, forge(planted))


@pytest.mark.parametrize("seconds, active", [(-120, False), (-61, False), (-57, True), (60, True)])
def test_expiry_allows_a_minute_of_skew(planted, seconds, active):
    now = int(time.time())
    token = forge(planted, iat=now - 200, exp=now + seconds)
    assert is_active(planted, token) is active


@pytest.mark.parametrize("member", ["nbf", "iat"])
@pytest.mark.parametrize("seconds, active", [(120, False), (63, False), (57, True), (-10, True)])
def test_not_before_allows_a_minute_of_skew(planted, member, seconds, active):
    now = int(time.time())
    token = forge(planted, **{"exp": now + 250, "iat": now - 10, member: now + seconds})
    assert is_active(planted, token) is active


WRONG = [
    {"iss": "http://evil.example"}, {"iss": "absent"}, {"iss": None}, {"iss": 1}, {"iss": ""}, {"iss": ["x"]},
    {"exp": "absent"}, {"exp": None}, {"exp": "9999999999"}, {"exp": -1}, {"exp": 1e300}, {"exp": True}, {"exp": []},
    {"iat": "absent"}, {"iat": "1"}, {"iat": None},
    {"sub": "absent"}, {"sub": ""}, {"sub": "usr_x"}, {"sub": 7}, {"sub": None}, {"sub": ["usr_x"]},
    {"sid": "absent"}, {"sid": "ses_x"}, {"sid": 1}, {"tv": "absent"}, {"tv": "1"}, {"tv": -1}, {"tv": 1.5},
    {"jti": "absent"}, {"jti": 1}, {"aud": "absent"}, {"aud": 7}, {"aud": []}, {"aud": None}, {"nbf": "soon"}, {"nbf": None},
]


@pytest.mark.parametrize("changes", WRONG, ids=lambda changes: json.dumps(changes))
def test_a_wrong_claim_is_refused(planted, changes):
    never(planted, forge(planted, **changes))


def test_the_issuer_of_another_project_is_refused(suite, genuine, planted):
    foreign = suite.new_project("issuer")
    iss = payload(planted.token)["iss"]
    token = forge(planted, iss=iss.replace(planted.project_id, foreign.project_id))
    never(planted, token)
    never(foreign, token)
    never(foreign, planted.token)
    for changed in (iss + "/", iss.upper(), iss.replace("http:", "https:"), iss + "?x", iss.replace("/v1/", "//v1/")):
        never(planted, forge(planted, iss=changed))
    foreign.close()


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "absent"}, {"typ": "logout+jwt"}, {"typ": None}, {"typ": 1},
                                    {"crit": ["x"], "x": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"zip": "DEF"}],
                         ids=lambda header: json.dumps(header))
def test_a_wrong_header_is_refused(planted, header):
    merged = {name: value for name, value in {**planted.own_header, **header}.items() if value != "absent"}
    never(planted, signed(planted.private, merged, payload(planted.token)))


def test_payloads_that_parsers_read_differently_are_refused(planted):
    private, header = planted.private, planted.own_header
    body = json.dumps(payload(planted.token), separators=(",", ":"))
    texts = [body[:-1] + ',"sub":"usr_00000000000000000000000000"}', body + "x", body + body, "[" + body + "]", "\ufeff" + body,
             body[:-1] + ',"a":NaN}', body[:-1] + ',"a":' + "[" * 200 + "]" * 200 + "}", body[:-1], "", "null", '"x"', "{}"]
    for text in texts:
        signing_input = f"{compact(header)}.{encode(text.encode())}"
        r, s = decode_dss_signature(private.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
        never(planted, f"{signing_input}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}")
    assert is_active(planted, forge(planted))


def test_a_huge_token_is_refused_quickly(genuine):
    started = time.monotonic()
    never(genuine, "a" * 60000)
    never(genuine, genuine.token + secrets.token_urlsafe(20000))
    refused(genuine.post("/v1/tokens/introspect", {"token": "a" * 500000}), 400, "invalid_argument", "token")
    assert time.monotonic() - started < 2
