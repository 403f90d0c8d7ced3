-- The URL of the command line, again and again.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")
