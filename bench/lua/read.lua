-- GET /v1/users/{id} with random ids of the file BENCH_IDS.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")

function init()
	texts = bench_lines("BENCH_IDS")
	for i = 1, #texts do
		texts[i] = bench_request("GET", "/v1/users/" .. texts[i])
	end
	math.randomseed(os.time())
end

function request()
	return texts[math.random(#texts)]
end
