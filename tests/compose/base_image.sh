#!/usr/bin/env bash
# Makes the image debian:bookworm-slim with debootstrap where no image registry can be reached. Needs root and a Docker engine.
set -euo pipefail
name=debian:bookworm-slim
docker image inspect "$name" >/dev/null 2>&1 && exit 0
timeout 60 docker pull -q "$name" >/dev/null 2>&1 && exit 0
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
# The mirror that this machine's apt uses, so that a closed network works as well.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '/^deb /{for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) {print $i; exit}}' || true)
[ -n "$mirror" ] || mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
debootstrap --variant=minbase --include=ca-certificates bookworm "$directory/root" "$mirror" >"$directory/log" 2>&1 || {
	tail -n 5 "$directory/log" >&2
	exit 1
}
cp -r /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d "$directory/root/etc/apt/" 2>/dev/null || true
cp -r /etc/apt/trusted.gpg.d /etc/apt/keyrings "$directory/root/etc/apt/" 2>/dev/null || true
rm -rf "$directory/root/var/cache/apt/archives/"*.deb
tar -C "$directory/root" -c . | docker import - "$name" >/dev/null
