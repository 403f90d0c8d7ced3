# Debian packages: what building and running needs, what tests need beyond.

BUILD_PACKAGES="gcc libc6-dev cmake ninja-build pkg-config python3 protobuf-compiler protobuf-c-compiler libprotobuf-c-dev
 libcivetweb-dev libzmq3-dev libczmq-dev libpq-dev libssl-dev libjwt-dev libjansson-dev libsodium-dev libargon2-dev
 libcrypt-dev libutf8proc-dev libidn2-dev postgresql curl jq ca-certificates"
TEST_PACKAGES="libcriterion-dev python3-pytest python3-jsonschema python3-yaml python3-jwt python3-cryptography clang-format docker.io docker-compose debootstrap iproute2 procps haproxy openssl"
BENCH_PACKAGES="wrk procps openssl"

# install_packages NAME...: installs those that are missing.
install_packages() {
	local missing=() name
	for name in "$@"; do
		dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
	done
	[ ${#missing[@]} -eq 0 ] && return
	command -v apt-get >/dev/null || die "this is not Debian or Ubuntu; install by hand: ${missing[*]}."
	local sudo=()
	if ! is_root; then
		sudo -n true 2>/dev/null || [ -t 0 ] || die "packages are missing; run as root: apt-get install ${missing[*]}"
		command -v sudo >/dev/null || die "packages are missing; run as root: apt-get install ${missing[*]}"
		sudo=(sudo)
	fi
	step "installing ${#missing[@]} packages: ${missing[*]}"
	local log
	log=$(mktemp)
	# The server's package would start a cluster of its own on port 5432; ours is private.
	if ! {
		"${sudo[@]}" mkdir -p /etc/postgresql-common/createcluster.d &&
			echo 'create_main_cluster = false' | "${sudo[@]}" tee /etc/postgresql-common/createcluster.d/denizen.conf &&
			"${sudo[@]}" apt-get update &&
			"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
	} >"$log" 2>&1; then
		tail -n 5 "$log" >&2
		rm -f "$log"
		die "the packages could not be installed; the last lines of apt-get are above."
	fi
	rm -f "$log"
}
