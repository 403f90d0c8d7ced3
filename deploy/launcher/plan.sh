# The supervisor's plan: which processes run, with which configuration. Ports are counted from the HTTP port.

SERVICES="audit identity claims session"

# The processes of one machine talk over Unix sockets. audit also has a port, for the subscribers to its feed: replica N (1..8)
# HTTP port + 139 + N; PUB is 1000 above.
feed_port() { echo $((PORT + 139 + $1)); }

endpoints_of() {
	local n list=
	for ((n = 1; n <= $(replicas_of "$1"); n++)); do
		list=$list${list:+,}ipc://$(socket_dir bus)/$1.$n
	done
	echo "$list"
}

# Where replica N of a service listens.
listen_of() {
	echo "ipc://$(socket_dir bus)/$1.$2$([ "$1" = audit ] && echo ",127.0.0.1:$(feed_port "$2")")"
}

bus_env() {
	local service
	for service in $SERVICES; do
		echo "env DENIZEN_BUS_${service^^}=$(endpoints_of "$service")"
	done
	echo "env DENIZEN_BUS_PUBLIC_KEYS=$DATA/bus/public"
	echo "env DENIZEN_BUS_SECRET_KEY_FILE=$DATA/bus/secret/$1.key"
	echo "env DENIZEN_LOG_LEVEL=${DENIZEN_LOG_LEVEL:-info}"
}

# Settings of one service beyond the bus; also used for its migrate and bootstrap commands.
service_env() {
	case $1 in
	claims)
		echo "env DENIZEN_KEK_FILE=$DATA/secrets/kek"
		echo "env DENIZEN_ISSUER=$BASE_URL"
		;;
	session) echo "env DENIZEN_SESSION_SECRET_FILE=$DATA/secrets/session" ;;
	esac
	echo "env DENIZEN_DB_FILE=$DATA/secrets/$1.db"
}

# The operator's own settings of a process: lines NAME=VALUE in DATA/config/PROCESS.env.
own_env() {
	[ -f "$DATA/config/$1.env" ] || return 0
	sed -n 's/^\([A-Z_]*=\)/env \1/p' "$DATA/config/$1.env"
}

write_plan() {
	local service n
	{
		echo "process postgres"
		is_root && echo "user postgres"
		echo "signal INT"
		echo "log $DATA/logs/postgres.log"
		echo "arg $PG_BIN/postgres"
		echo "arg -D"
		echo "arg $DATA/postgres"
		for service in $SERVICES; do
			for ((n = 1; n <= $(replicas_of "$service"); n++)); do
				echo "process $service.$n"
				echo "log $DATA/logs/$service.$n.log"
				bus_env "$service"
				service_env "$service"
				own_env "$service"
				echo "env DENIZEN_BUS_LISTEN=$(listen_of "$service" "$n")"
				echo "arg $BIN/services/$service/denizen-$service"
			done
		done
		echo "process gateway.1"
		echo "log $DATA/logs/gateway.1.log"
		bus_env gateway
		echo "env DENIZEN_HTTP_PORT=$PORT"
		echo "env DENIZEN_DRAIN_MS=0" # there is no other gateway to which a balancer could move
		echo "env DENIZEN_ISSUER=$BASE_URL"
		[ -z "${DENIZEN_BENCH_ROUTES:-}" ] || echo "env DENIZEN_BENCH_ROUTES=$DENIZEN_BENCH_ROUTES"
		[ -z "${DENIZEN_RATE_LIMIT:-}" ] || echo "env DENIZEN_RATE_LIMIT=$DENIZEN_RATE_LIMIT"
		own_env gateway
		echo "arg $BIN/gateway/denizen-gateway"
	} >"$DATA/run/plan"
}

# run_service SERVICE COMMAND...: one of its commands with the same settings as the running process. Secrets go by file: a
# command line is there for every user of the machine to see.
run_service() {
	local service=$1 line pairs=()
	shift
	while IFS= read -r line; do
		pairs+=("${line#env }")
	done < <(
		bus_env "$service"
		service_env "$service"
	)
	owner_uri | write_secret "$DATA/secrets/owner.db"
	env -i "PATH=$PATH" "${pairs[@]}" "DENIZEN_DB_OWNER_FILE=$DATA/secrets/owner.db" "DENIZEN_DB_ROLE_PASSWORD_FILE=$DATA/secrets/$service.password" \
		"$BIN/services/$service/denizen-$service" "$@"
}
