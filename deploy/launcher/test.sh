# test and bench.

command_test() {
	install_packages $BUILD_PACKAGES $TEST_PACKAGES
	exec /usr/bin/python3 "$ROOT/tests/run.py" "$@"
}

command_bench() {
	install_packages $BUILD_PACKAGES $BENCH_PACKAGES
	exec /usr/bin/python3 "$ROOT/bench/run.py" "$@"
}
