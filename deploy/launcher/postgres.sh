# The private Postgres cluster in DATA/postgres.

# The newest server that is installed (Debian 12 has 15, Ubuntu 24.04 has 16); a cluster stays with the version that made it.
find_postgres() {
	local found
	found=$(cat "$DATA/postgres/PG_VERSION" 2>/dev/null) || found=$(ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -n 1)
	PG_BIN=/usr/lib/postgresql/$found/bin
	[ -x "$PG_BIN/postgres" ] || die "the data in $DATA/postgres is of Postgres $found, whose server is not installed: install postgresql-$found, or dump the data with pg_dumpall of version $found, move the directory away, start again, and load the dump."
	[ "$found" -ge 14 ] || die "Postgres $found is too old; Denizen needs 14 or newer."
}

# The directory of the sockets of `postgres` or `bus`. Sockets have short paths (107 bytes): a deep data directory gets it under /tmp.
socket_dir() {
	local wanted=$DATA/run/$1
	if [ ${#wanted} -gt 80 ]; then
		wanted=/tmp/denizen-$(printf %s "$DATA" | sha256sum | cut -c1-12)
		[ "$1" = postgres ] || wanted=$wanted-$1
	fi
	echo "$wanted"
}

# Before anything is written: files of root would be in the way of the directory's owner.
check_owner() {
	local owner
	owner=$(stat -c %U "$DATA/postgres" 2>/dev/null) || return 0
	[ "$owner" != "$(postgres_user)" ] && [ "$owner" != "$(id -un)" ] || return 0
	[ "$owner" = postgres ] && owner=root
	die "the data in $DATA are of $owner; run the command as $owner."
}

# Whether the Postgres user can reach the data directory.
check_reachable() {
	is_root || return 0
	as_postgres test -x "$DATA" || die "the user postgres cannot enter $DATA (a directory above it is closed to others); choose another with --data, for example --data /var/lib/denizen."
}

# make_socket_dir postgres|bus OWNER MODE: makes it, or takes it when it is ours; a stranger's under /tmp would get our passwords told.
make_socket_dir() {
	local wanted owner
	wanted=$(socket_dir "$1")
	mkdir "$wanted" 2>/dev/null && is_root && chown "$2:" "$wanted"
	[ -d "$wanted" ] && [ ! -L "$wanted" ] || die "the directory $wanted, which is needed for sockets, cannot be made."
	owner=$(stat -c %U "$wanted")
	[ "$owner" = "$2" ] || die "the directory $wanted, which is needed for sockets, belongs to $owner; remove it, or choose a data directory with a shorter path."
	chmod "$3" "$wanted"
}

# Under another name until the cluster is whole: a start that was cut off begins anew.
postgres_init() {
	make_socket_dir postgres "$(postgres_user)" 700
	[ -f "$DATA/postgres/PG_VERSION" ] && return
	step "making a Postgres cluster in $DATA/postgres"
	[ ! -e "$DATA/postgres" ] || rmdir "$DATA/postgres" 2>/dev/null || die "$DATA/postgres is there but holds no Postgres cluster; move it away, or choose another directory with --data."
	rm -rf "$DATA/postgres.new"
	mkdir -m 700 "$DATA/postgres.new"
	is_root && chown postgres: "$DATA/postgres.new"
	random_hex 24 | write_secret "$DATA/secrets/owner.password"
	local log=$DATA/logs/initdb.log password=$DATA/run/initdb.password
	write_secret "$password" <"$DATA/secrets/owner.password"
	is_root && chown postgres: "$password"
	if ! as_postgres "$PG_BIN/initdb" -D "$DATA/postgres.new" -U denizen_owner --pwfile="$password" --auth=scram-sha-256 \
		--encoding=UTF8 --locale=C.UTF-8 --data-checksums >"$log" 2>&1; then
		tail -n 3 "$log" >&2
		rm -f "$password"
		rm -rf "$DATA/postgres.new"
		die "initdb failed; its last lines are above. Is the disk full?"
	fi
	rm -f "$password"
	cat >>"$DATA/postgres.new/postgresql.conf" <<TEXT
# Denizen: private cluster, reached through its socket only
listen_addresses = ''
unix_socket_directories = '$(socket_dir postgres)'
max_connections = 200
shared_buffers = ${DENIZEN_PG_SHARED_BUFFERS:-256MB}
max_wal_size = 4GB
jit = off
logging_collector = off
autovacuum_naptime = 5s
idle_in_transaction_session_timeout = 10000
TEXT
	sync "$DATA/postgres.new/postgresql.conf"
	mv -T "$DATA/postgres.new" "$DATA/postgres"
}

owner_uri() {
	echo "postgresql://denizen_owner:$(cat "$DATA/secrets/owner.password")@/denizen?host=$(socket_dir postgres)"
}

role_uri() {
	echo "postgresql://$1:$(cat "$DATA/secrets/$1.password")@/denizen?host=$(socket_dir postgres)"
}

postgres_wait() {
	local i
	for ((i = 0; i < 600; i++)); do
		"$PG_BIN/pg_isready" -q -h "$(socket_dir postgres)" && return
		sleep 0.05
	done
	tail -n 5 "$DATA/logs/postgres.log" >&2
	die "Postgres does not answer after 30 s; its last lines are above, the rest is in $DATA/logs/postgres.log."
}

# Creates the database when the cluster is new.
postgres_database() {
	[ -f "$DATA/run/database" ] && return
	PGPASSWORD=$(cat "$DATA/secrets/owner.password") psql -h "$(socket_dir postgres)" -U denizen_owner -d postgres -qAt \
		-c "SELECT 1 FROM pg_database WHERE datname = 'denizen'" | grep -q 1 ||
		PGPASSWORD=$(cat "$DATA/secrets/owner.password") psql -h "$(socket_dir postgres)" -U denizen_owner -d postgres -q \
			-c "CREATE DATABASE denizen TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'" ||
		die "the database could not be created; see $DATA/logs/postgres.log."
	touch "$DATA/run/database"
}
