# up, down, status, logs.

BIN=${DENIZEN_BIN:-$ROOT/build/release}

make_secrets() {
	local name
	for name in kek session; do
		[ -s "$DATA/secrets/$name" ] || random_hex 32 | write_secret "$DATA/secrets/$name"
	done
	for name in $SERVICES; do
		[ -s "$DATA/secrets/$name.password" ] || random_hex 24 | write_secret "$DATA/secrets/$name.password"
		role_uri "$name" | write_secret "$DATA/secrets/$name.db"
	done
}

# Whether no living socket of this machine holds the port: one that listens (state 0A), or an outgoing connection that was given it
# (01, 02, 08). Those that close after a process ended do not count. Asking by connecting would not see the second kind, and could
# connect to itself.
port_free() {
	local hex
	hex=$(printf ':%04X' "$1")
	! awk -v port="$hex" '$2 ~ port "$" && $4 ~ /^(01|02|08|0A)$/ {found = 1} END {exit !found}' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

check_ports() {
	local n port first
	port_free "$PORT" || die "port $PORT is taken by another program; choose another with --port."
	for ((n = 1; n <= $(replicas_of audit); n++)); do
		port=$(feed_port "$n")
		port_free "$port" && port_free $((port + 1000)) ||
			die "port $port or $((port + 1000)), which the feed needs, is taken; choose another --port (the feed's ports are counted from it)."
	done
	first=$(awk '{print $1}' /proc/sys/net/ipv4/ip_local_port_range 2>/dev/null || echo 65536)
	[ $((PORT + 1150)) -lt "$first" ] || say "denizen: port $PORT and the feed's ports (to $((PORT + 1147))) reach into the range of outgoing connections (from $first), which may take one while a process restarts; a --port below $((first - 1150)) is safer."
}

check_disk() {
	local free_kb
	free_kb=$(df -Pk "$DATA" | awk 'NR == 2 {print $4}')
	[ "$free_kb" -ge 200000 ] || die "only $((free_kb / 1024)) MB are free where $DATA lies; Denizen needs 200 MB to start."
}

# Remembers port and replicas of a data directory, so that `up` resumes it as it was.
settings() {
	local saved=$DATA/run/settings
	if [ -f "$saved" ]; then
		[ -n "$PORT" ] || PORT=$(sed -n 's/^port //p' "$saved")
		[ -n "$REPLICAS" ] || REPLICAS=$(sed -n 's/^replicas //p' "$saved")
		[ -n "${DENIZEN_BASE_URL:-}" ] || DENIZEN_BASE_URL=$(sed -n 's/^base_url //p' "$saved")
	fi
	PORT=${PORT:-8080}
	BASE_URL=${DENIZEN_BASE_URL:-http://127.0.0.1:$PORT}
}

save_settings() { printf 'port %s\nreplicas %s\nbase_url %s\n' "$PORT" "$REPLICAS" "${DENIZEN_BASE_URL:-}" >"$DATA/run/settings" && chmod 644 "$DATA/run/settings"; }

ready_wait() {
	local i pid=$1
	for ((i = 0; i < 1200; i++)); do
		curl -fsS -o /dev/null "http://127.0.0.1:$PORT/readyz" 2>/dev/null && return
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.025
	done
	local log
	for log in "$DATA"/logs/*.log; do
		say "--- $log" && tail -n 3 "$log" >&2
	done
	die "the suite did not become ready; the last lines of its logs are above."
}

migrate_all() {
	local service
	step "migrating the schemas"
	for service in $SERVICES; do
		run_service "$service" migrate 2>>"$DATA/logs/migrate.log" ||
			{ tail -n 3 "$DATA/logs/migrate.log" >&2; die "the schema of $service could not be migrated; the last lines of $DATA/logs/migrate.log are above."; }
	done
}

# Makes the first project, when there is none. A start that was cut off leaves a file whose key nobody knows: the command knows it and
# replaces it, so it runs until the credentials are there.
bootstrap() {
	[ -s "$DATA/credentials.json" ] && return
	step "creating the first project"
	run_service identity bootstrap --name default --out "$DATA/run/bootstrap.json" 2>>"$DATA/logs/migrate.log" ||
		{ tail -n 3 "$DATA/logs/migrate.log" >&2; die "the first project could not be created; see $DATA/logs/migrate.log."; }
}

# Postgres alone first when schemas may have to change; it goes on running under the supervisor afterwards. The stamp comes last: what
# was cut off before is done again.
prepare_database() {
	local pid stamp
	stamp=$(cat "$ROOT"/services/*/schema/*.sql | sha256sum | cut -c1-16)
	[ "$(cat "$DATA/run/migrated" 2>/dev/null)" = "$stamp" ] && return
	as_postgres "$PG_BIN/postgres" -D "$DATA/postgres" >>"$DATA/logs/postgres.log" 2>&1 9>&- &
	pid=$!
	# Whatever fails from here on, the cluster is not left running.
	trap 'as_postgres "$PG_BIN/pg_ctl" -D "$DATA/postgres" -m fast -s stop 2>/dev/null' EXIT
	postgres_wait
	postgres_database
	migrate_all
	bootstrap
	trap - EXIT
	as_postgres "$PG_BIN/pg_ctl" -D "$DATA/postgres" -m fast -s stop
	wait "$pid" || true
	echo "$stamp" >"$DATA/run/migrated.new"
	mv "$DATA/run/migrated.new" "$DATA/run/migrated"
}

# Others may read what a subscriber or their own `status` needs, in bus/public and run; the rest is closed to them, also what an earlier
# release left open. The user postgres goes through run to its sockets.
close_data() {
	umask 077
	mkdir -p "$DATA/run" "$DATA/logs" "$DATA/secrets"
	chmod 711 "$DATA/run"
	chmod 700 "$DATA/logs" "$DATA/secrets"
	touch "$DATA/.lock" && chmod 600 "$DATA/.lock" || die "the file $DATA/.lock cannot be made; is $DATA another user's?"
	[ ! -e "$DATA/run/plan" ] || chmod 600 "$DATA/run/plan"
	[ ! -d "$DATA/config" ] || chmod 700 "$DATA/config"
}

# One start at a time: this shell holds the lock until it ends, the processes it starts do not.
lock_data() {
	exec 9>"$DATA/.lock"
	flock -n 9 || die "another ./denizen up is working on $DATA; wait for it."
}

prepare() {
	install_packages $BUILD_PACKAGES
	[ -n "${DENIZEN_BIN:-}" ] || build release
	mkdir -p "$DATA" 2>/dev/null || die "the directory $DATA cannot be made; choose another with --data."
	[ -w "$DATA" ] || die "the directory $DATA is not writable by $(id -un); choose another with --data."
	check_owner
	close_data
	lock_data
	settings
	check_reachable
	find_postgres
	check_ports
	check_disk
	make_secrets
	(umask 022 && exec "$BIN/deploy/denizen-keys" "$DATA/bus") || die "the bus keys could not be made in $DATA/bus."
	postgres_init
	make_socket_dir bus "$(id -un)" 700
	save_settings
	write_plan
	prepare_database
}

# Until a suite that is being stopped has left, or what is left of one whose supervisor was killed.
wait_for_leavers() {
	local i pid
	for ((i = 0; i < 1200; i++)); do
		if is_stopping; then pid=$(supervisor_pid) || continue; else pid=$(orphan_pid) || return 0; fi
		[ $i != 0 ] || say "Denizen: waiting until the suite that ran in $DATA has left"
		sleep 0.05
	done
	die "process $pid of the suite that ran in $DATA does not leave; end it with kill -9 $pid."
}

# What runs is not changed by a second up: it must not look as if it were.
check_running() {
	local port=$PORT replicas=$REPLICAS name
	PORT= REPLICAS=
	settings
	[ "${port:-$PORT}" = "$PORT" ] || die "it runs on http://127.0.0.1:$PORT already; for port $port stop it first with ./denizen down."
	[ -n "$replicas" ] || return 0
	for name in $SERVICES; do
		[ "$(replicas_of "$name")" = "$(REPLICAS=$replicas replicas_of "$name")" ] ||
			die "it runs on http://127.0.0.1:$PORT already, with other replicas; --replicas takes effect at a start: ./denizen down first."
	done
}

command_up() {
	parse_options 0 "--port --detach --replicas" "$@"
	check_replicas
	local pid
	wait_for_leavers
	if pid=$(supervisor_pid); then
		check_running
		say "Denizen is already running on http://127.0.0.1:$PORT (supervisor $pid); ./denizen down stops it."
		[ -s "$DATA/credentials.json" ] || make_credentials
		return
	fi
	say "Denizen: starting in $DATA"
	prepare
	setsid "$BIN/deploy/denizen-supervisor" "$DATA/run/plan" "$DATA/run/status.json" >>"$DATA/logs/supervisor.log" 2>&1 </dev/null 9>&- &
	pid=$!
	trap 'kill -TERM $pid 2>/dev/null; wait $pid; exit 1' INT TERM
	(ready_wait "$pid") || { kill -TERM "$pid" 2>/dev/null; wait "$pid"; exit 1; }
	[ -s "$DATA/credentials.json" ] || (make_credentials) || { kill -TERM "$pid" 2>/dev/null; wait "$pid"; exit 1; }
	say "Denizen is ready: $BASE_URL"
	say "  keys and the first administrator: $DATA/credentials.json"
	say "  API description: $BASE_URL/openapi.json    logs: $DATA/logs"
	trap - INT TERM
	if [ $DETACH = yes ]; then
		disown "$pid"
		return
	fi
	say "  Ctrl-C stops it."
	trap 'say "Denizen: stopping"; kill -TERM $pid 2>/dev/null' INT TERM
	while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
}

command_down() {
	parse_options 0 "" "$@"
	local pid i
	pid=$(supervisor_pid) || { say "Denizen does not run in $DATA."; return; }
	is_root || [ -O "/proc/$pid" ] || die "the suite in $DATA runs as $(stat -c %U "/proc/$pid"); stop it as that user."
	kill -TERM "$pid"
	for ((i = 0; i < 1200; i++)); do
		supervisor_pid >/dev/null || { say "Denizen is stopped."; return; }
		sleep 0.05
	done
	die "the supervisor $pid does not stop; see $DATA/logs/supervisor.log."
}

command_status() {
	parse_options 0 "--json" "$@"
	local ready=false
	if ! supervisor_pid >/dev/null; then
		if [ $JSON = yes ]; then echo '{"running": false}'; else say "Denizen does not run in $DATA."; fi
		return 1
	fi
	settings
	curl -fsS -o /dev/null "http://127.0.0.1:$PORT/readyz" 2>/dev/null && ready=true
	if [ $JSON = yes ]; then
		jq --arg url "$BASE_URL" --argjson ready $ready '{running: true, ready: $ready, base_url: $url} + .' "$DATA/run/status.json"
		return
	fi
	echo "$BASE_URL ready: $ready$(! is_stopping || echo ", being stopped")"
	jq -r '.processes[] | "\(.name)\tpid \(.pid)\trestarts \(.restarts)"' "$DATA/run/status.json" | while IFS=$'\t' read -r name pid rest; do
		printf '%-12s %-12s %-12s %s\n' "$name" "$pid" "$rest" "$(awk '/VmRSS/ {printf "%.1f MB", $2 / 1024}' "/proc/${pid#pid }/status" 2>/dev/null)"
	done
}

command_logs() {
	parse_options 1 "" "$@"
	ls "$DATA/logs/${ARGS[0]:-}"*.log >/dev/null 2>&1 || die "there are no logs of ${ARGS[0]:-any process} in $DATA/logs."
	exec tail -n 50 -F "$DATA/logs/${ARGS[0]:-}"*.log
}
