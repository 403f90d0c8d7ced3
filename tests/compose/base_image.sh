#!/usr/bin/env bash
# Makes the image debian:bookworm-slim with debootstrap where no image registry can be reached. Needs root and a Docker engine.
set -euo pipefail
name=debian:bookworm-slim
docker image inspect "$name" >/dev/null 2>&1 && exit 0
timeout 60 docker pull -q "$name" >/dev/null 2>&1 && exit 0
[ "$(id -u)" = 0 ] || { echo "$name cannot be pulled, and making it needs root"; exit 1; }
command -v debootstrap >/dev/null || { echo "$name cannot be pulled, and debootstrap, which makes it, is missing"; exit 1; }
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
root=$directory/root

# The mirrors that this machine's apt uses, so that a closed network works as well; then Debian's own.
uris() {
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; break}}'
	cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs: *//p' | tr ' ' '\n'
	printf 'http://deb.debian.org/debian\nhttp://deb.debian.org/debian-security\n'
}
# The first of them that has a suite of Debian.
mirror_of() {
	local uri
	for uri in $(uris | awk 'NF && !seen[$0]++'); do
		if curl -fsSL --max-time 20 "${uri%/}/dists/$1/InRelease" 2>/dev/null | grep '^Origin: Debian$' >/dev/null; then
			echo "$uri"
			return
		fi
	done
	return 1
}
mirror=$(mirror_of bookworm) || { echo "no mirror with Debian bookworm can be reached"; exit 1; }
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$directory/log" 2>&1 || {
	tail -n 5 "$directory/log"
	exit 1
}
{
	echo "deb $mirror bookworm main"
	for suite in bookworm-updates bookworm-security; do
		uri=$(mirror_of "$suite") && echo "deb $uri $suite main"
	done
} >"$root/etc/apt/sources.list"
# How this machine's apt reaches its mirror: proxies, certificates, checks.
grep -l 'Acquire::' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$root/etc/apt/apt.conf.d/"
# What the published image leaves out, now and later.
printf 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\nDPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n' \
	>"$root/etc/apt/apt.conf.d/docker-clean"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info,locale}/*
printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$root/etc/dpkg/dpkg.cfg.d/slim"
tar -C "$root" -c . | docker import - "$name" >/dev/null
