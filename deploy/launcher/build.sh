# Building with CMake presets.

# build PRESET: configures once, builds what is stale, prints only failures. Binaries are under build/PRESET.
build() {
	local preset=$1 log
	log=$(mktemp)
	if [ ! -f "$ROOT/build/$preset/build.ninja" ]; then
		step "building ($preset); this takes a minute the first time"
		if ! cmake -S "$ROOT" --preset "$preset" >"$log" 2>&1; then
			tail -n 20 "$log" >&2
			die "CMake could not configure the build; its last lines are above."
		fi
	fi
	if ! ninja -C "$ROOT/build/$preset" >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		die "the build failed; its last lines are above."
	fi
	rm -f "$log"
}
