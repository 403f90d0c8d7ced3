"""Each service's database role reaches its own schema and nothing else."""
import pytest
from denizen import eventually

ROLES = ["identity", "claims", "session", "audit"]
TABLES = {"identity": "users", "claims": "user_claims", "session": "session", "audit": "event"}


def run(suite, role, sql):
    return suite.postgres("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, role=role)


def tables_of(suite, schema):
    return suite.psql(f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1")


@pytest.mark.parametrize("schema", ROLES)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_its_own_schema_only(suite, role, schema):
    """The 4 x 4 matrix, over every table of the schema."""
    tables = tables_of(suite, schema)
    assert TABLES[schema] in tables and "outbox" in tables if schema != "audit" else TABLES[schema] in tables
    for table in tables:
        done = run(suite, role, f"SELECT count(*) FROM {schema}.{table}")
        if role == schema:
            assert done.returncode == 0 and int(done.stdout) >= 0, (table, done.stderr)
        else:
            assert done.returncode != 0 and f"permission denied for schema {schema}" in done.stderr, (table, done)


@pytest.mark.parametrize("role, schema", [(role, schema) for role in ROLES for schema in ROLES if role != schema])
def test_a_role_writes_no_other_schema(suite, role, schema):
    for sql in ("DELETE FROM {0}", "UPDATE {0} SET project_id = project_id", "TRUNCATE {0}", "INSERT INTO {0} DEFAULT VALUES", "BEGIN; LOCK TABLE {0}"):
        done = run(suite, role, sql.format(f"{schema}.{TABLES[schema]}"))
        assert done.returncode != 0 and "permission denied" in done.stderr, (sql, done)


FORBIDDEN = [
    "CREATE TABLE public.mine (x int)", "CREATE TABLE {role}.mine (x int)", "DROP TABLE {role}.{table}", "ALTER TABLE {role}.{table} ADD COLUMN x int", "TRUNCATE {role}.{table}",
    "CREATE ROLE mine", "CREATE DATABASE mine", "CREATE SCHEMA mine", "ALTER ROLE {role} SUPERUSER", "SET ROLE denizen_owner", "SET ROLE {other}",
    "SELECT rolpassword FROM pg_authid", "SELECT pg_read_file('/etc/passwd')", "COPY {role}.{table} TO PROGRAM 'cat'", "CREATE EXTENSION dblink", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{other}'",
    "CREATE FUNCTION {role}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "ALTER SYSTEM SET fsync = off",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_work_with_its_rows_and_nothing_more(suite, role, sql):
    other = ROLES[(ROLES.index(role) + 1) % 4]
    done = run(suite, role, sql.format(role=role, other=other, table=TABLES[role]))
    assert done.returncode != 0, (sql, done.stdout)
    assert "denied" in done.stderr or "must be" in done.stderr or "not permitted" in done.stderr, done.stderr


@pytest.mark.parametrize("sql", ["UPDATE audit.event SET at_us = 0", "DELETE FROM audit.event", "INSERT INTO audit.event SELECT * FROM audit.event "
                                 "ON CONFLICT (position) DO UPDATE SET at_us = 0"])
def test_audit_itself_cannot_change_the_ledger(suite, sql):
    assert run(suite, "audit", "SELECT count(*) FROM audit.event").returncode == 0
    done = run(suite, "audit", sql)
    assert done.returncode != 0 and "permission denied for table event" in done.stderr, done


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_an_ordinary_login(suite, role):
    row, = suite.psql(f"SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = '{role}'")
    assert row == "f|f|f|f|f|t"
    assert suite.psql(f"SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = '{role}'") == ["0"]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_cannot_log_in_with_the_password_of_another(suite, role):
    other = suite.data / f"secrets/{ROLES[(ROLES.index(role) + 1) % 4]}.password"
    mine = suite.data / f"secrets/{role}.password"
    kept = mine.read_text()
    assert kept != other.read_text()
    try:
        mine.write_text(other.read_text())
        done = run(suite, role, "SELECT 1")
    finally:
        mine.write_text(kept)
    assert done.returncode != 0 and "password authentication failed" in done.stderr


def test_every_process_uses_its_own_role(suite):
    eventually(lambda: set(suite.psql("SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = 'denizen' AND usename <> 'denizen_owner'")) == set(ROLES))
