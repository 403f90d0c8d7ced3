-- POST /v1/tokens/introspect with the tokens of the file BENCH_TOKENS in turn.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")
local at = 0

function init()
	texts = bench_lines("BENCH_TOKENS")
	for i = 1, #texts do
		texts[i] = bench_request("POST", "/v1/tokens/introspect", '{"token":"' .. texts[i] .. '"}')
	end
end

function request()
	at = at % #texts + 1
	return texts[at]
end
