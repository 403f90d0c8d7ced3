-- POST /v1/users with emails that begin with BENCH_PREFIX.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")
local prefix, count = os.getenv("BENCH_PREFIX"), 0

function request()
	count = count + 1
	return bench_request("POST", "/v1/users",
		'{"email":"' .. prefix .. count .. '@bench.example","name":"Bench User ' .. count .. '"}')
end
