-- POST /v1/sessions of the users signin1 .. signin<BENCH_USERS> in turn.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")
local users, password, at = tonumber(os.getenv("BENCH_USERS")), os.getenv("BENCH_PASSWORD"), 0

function request()
	at = at % users + 1
	return bench_request("POST", "/v1/sessions", '{"email":"signin' .. at .. '@bench.example","password":"' .. password .. '"}')
end
