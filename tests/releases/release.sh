#!/usr/bin/env bash
# README's two commands on a fresh system of another release: release.sh trixie|jammy|noble|resolute. Prints `N passed, N failed`.
# Needs root, debootstrap and the release's mirror. The system lives in a folder that is deleted at the end; its processes and mounts
# end with their namespaces. Signatures of packages are checked by apt inside, those of the base system only where debootstrap has the keys.
set -euo pipefail
release=$1
tree=$(cd "$(dirname "$0")/../.." && pwd)
groups='static unit store fuzz suite'
[ "$release" != jammy ] || groups='static unit store fuzz' # its python3-jsonschema is too old for OpenAPI 3.1

case $release in
bookworm | trixie) mirror=http://deb.debian.org/debian script=sid components=main ;;
*) mirror=http://archive.ubuntu.com/ubuntu script=gutsy components=main,universe ;;
esac
fail() {
	echo "$release: $1"
	echo '0 passed, 1 failed'
	exit 1
}
[ "$(id -u)" = 0 ] || fail 'needs root'
command -v debootstrap >/dev/null || fail 'needs debootstrap'

directory=$(mktemp -d)
trap 'rm -rf --one-file-system "$directory"' EXIT
root=$directory/root
debootstrap --no-check-gpg --variant=minbase --components=$components "$release" "$root" "$mirror" \
	"/usr/share/debootstrap/scripts/$script" >"$directory/log" 2>&1 || fail "$(tail -n 5 "$directory/log")"
[ $components = main ] || printf "deb $mirror %s main universe\n" "$release" "$release-updates" "$release-security" >"$root/etc/apt/sources.list"
cp /etc/resolv.conf "$root/etc/resolv.conf"
grep -l 'Acquire::' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d/"
mkdir -p "$root/srv/denizen"
(cd "$tree" && git ls-files -co --exclude-standard -z | xargs -0 tar -c) | tar -x -C "$root/srv/denizen"

# In namespaces of its own: whatever is left running or mounted there goes with them.
unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
	mount -t proc proc "$1/proc"
	mount -t sysfs sys "$1/sys"
	mount --rbind /dev "$1/dev"
	exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 bash -c "
		cd /srv/denizen
		./denizen up --detach --port 18089 && curl -fsS http://127.0.0.1:18089/readyz && echo && ./denizen down || {
			echo 0 passed, 1 failed
			exit 1
		}
		exec ./denizen test $2"
' bash "$root" "$groups"
