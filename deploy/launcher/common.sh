# Shared by the parts of the launcher: messages, options, small checks.

say() { printf '%s\n' "$*" >&2; }
step() { printf '  %s\n' "$*" >&2; }
# One sentence that says what to do, then the end.
die() {
	printf 'denizen: %s\n' "$*" >&2
	exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# The user that Postgres runs as: itself for an ordinary user, postgres (from Debian's package) for root.
postgres_user() { if is_root; then echo postgres; else id -un; fi; }
as_postgres() { if is_root; then (cd / && exec runuser -u postgres -- "$@"); else "$@"; fi; }

# ./data, but /var/lib/denizen for root in a folder that other users cannot enter (/root is one): Postgres runs as another user.
default_data() {
	if is_root && ! runuser -u nobody -- test -x "$ROOT"; then
		echo /var/lib/denizen
	else
		echo "$ROOT/data"
	fi
}

# parse_options WORDS "OPTIONS" ARGUMENTS...: for a command that takes so many words, and these options beside --data. Sets the variables
# of the options; the words go to ARGS. What the command does not take is refused: it would be left undone unseen.
parse_options() {
	local words=$1 options=" --data $2 "
	shift 2
	DATA=${DENIZEN_DATA:-$(default_data)} PORT= DETACH=no REPLICAS= JSON=no KIND=api NAME= SCOPES= PROJECT= CREDENTIALS=
	ARGS=()
	while [ $# -gt 0 ]; do
		case $1 in
		-?*) [[ $options == *" $1 "* ]] || die "unknown option $1 of ./denizen $command; ./denizen help lists them." ;;
		esac
		case $1 in
		--data | --port | --replicas | --kind | --name | --scopes | --project | --project-credentials)
			[ $# -ge 2 ] || die "$1 needs a value."
			;;
		esac
		case $1 in
		--data) DATA=$2 && shift ;;
		--port) PORT=$2 && shift ;;
		--replicas) REPLICAS=$2 && shift ;;
		--kind) KIND=$2 && shift ;;
		--name) NAME=$2 && shift ;;
		--scopes) SCOPES=$2 && shift ;;
		--project) PROJECT=$2 && shift ;;
		--project-credentials) CREDENTIALS=$2 && shift ;;
		--detach) DETACH=yes ;;
		--json) JSON=yes ;;
		*) ARGS+=("$1") ;;
		esac
		shift
	done
	[ ${#ARGS[@]} -le "$words" ] || die "./denizen $command does not take ${ARGS[$words]}; ./denizen help lists what it takes, and a name with blanks needs quotes."
	[ -n "$DATA" ] || die "--data needs a value."
	DATA=$(readlink -m "$DATA")
	case $DATA in *[!A-Za-z0-9._/+@-]*) die "the data directory $DATA has characters other than letters, digits and ._/+@-; choose another with --data." ;; esac
	if [ -n "$PORT" ]; then
		case $PORT in *[!0-9]*) die "--port needs a number." ;; esac
		PORT=$(sed 's/^0*//' <<<"$PORT") # with a leading zero the shell would count in eights
		{ [ -n "$PORT" ] && [ ${#PORT} -le 5 ] && [ "$PORT" -le 60000 ]; } || die "--port needs a number from 1 to 60000."
	fi
}

# Replicas of one process, from "identity=2,session=2"; 1 without a word about it.
replicas_of() {
	local pair
	for pair in ${REPLICAS//,/ }; do
		if [ "${pair%%=*}" = "$1" ]; then
			echo "${pair#*=}"
			return
		fi
	done
	echo 1
}

check_replicas() {
	local pair
	for pair in ${REPLICAS//,/ }; do
		case $pair in
		identity=[1-8] | claims=[1-8] | session=[1-8] | audit=[1-8]) ;;
		gateway=*) die "one address takes one gateway; several gateways need the edge: use compose.yaml with --scale gateway=2." ;;
		*) die "--replicas takes identity, claims, session or audit with a number from 1 to 8, as in identity=2,session=2; not $pair." ;;
		esac
	done
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Writes standard input to a file that only its owner reads, all of it or nothing.
write_secret() {
	(umask 077 && cat >"$1.new")
	mv "$1.new" "$1"
}

# Whether the supervisor of DATA is stopping its processes.
is_stopping() { grep -q '"stopping": true' "$DATA/run/status.json" 2>/dev/null && supervisor_pid >/dev/null; }

# A process of DATA whose supervisor was killed, and which has not left yet.
orphan_pid() {
	local pid parent program
	[ -f "$DATA/run/status.json" ] && ! supervisor_pid >/dev/null || return 1
	for pid in $(sed -n 's/.*"pid": \([1-9][0-9]*\).*/\1/p' "$DATA/run/status.json" 2>/dev/null); do
		program=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | sed -n 1p) || continue
		parent=$(sed -n 's/^PPid:\t//p' "/proc/$pid/status" 2>/dev/null) || continue
		# The file outlives a crash of the machine: its numbers may be those of another suite's processes.
		if grep -qxF "arg $program" "$DATA/run/plan" 2>/dev/null && ! tr '\0' '\n' 2>/dev/null <"/proc/$parent/cmdline" | grep -q '/denizen-supervisor$'; then
			echo "$pid"
			return
		fi
	done
	return 1
}

# The supervisor of DATA, when it lives: the file outlives a crash of the machine, after which any program may have its number.
supervisor_pid() {
	local pid
	[ -f "$DATA/run/status.json" ] || return 1
	pid=$(sed -n 's/.*"supervisor": \([0-9]*\).*/\1/p' "$DATA/run/status.json" 2>/dev/null)
	[ -n "$pid" ] && tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$DATA/run/plan" && echo "$pid"
}
