# Building with CMake presets.

# build PRESET: configures once, builds what is stale, prints only failures. Binaries are under build/PRESET.
build() {
	local preset=$1 log=$ROOT/build/$1.log made=$ROOT/build/$1
	while [ ! -e "$made" ]; do made=$(dirname "$made"); done
	[ -w "$made" ] || die "$(id -un) cannot build in $made, which belongs to $(stat -c %U "$made"): build as that user and set DENIZEN_BIN=$ROOT/build/$preset to use what is there, or take a copy of your own."
	mkdir -p "$ROOT/build"
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
}
