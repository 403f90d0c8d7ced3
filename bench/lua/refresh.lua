-- POST /v1/sessions/refresh: takes a token of a queue and puts its successor at the end. The queue comes from the file
-- BENCH_REFRESH and goes back there; tokens that are on their way at the end are lost.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")
local thread_of_all

function setup(thread)
	thread_of_all = thread
end

function init()
	queue = bench_lines("BENCH_REFRESH")
	first, last = 1, #queue
end

function request()
	local token = queue[first] or "empty"
	queue[first] = nil
	first = first + 1
	return bench_request("POST", "/v1/sessions/refresh", '{"refresh_token":"' .. token .. '"}')
end

function response(status, headers, body)
	local token = string.match(body, '"refresh_token":"([^"]+)"')
	if token then
		last = last + 1
		queue[last] = token
	end
end

function bench_done()
	local file = assert(io.open(os.getenv("BENCH_REFRESH"), "w"))
	local queue, first, last = thread_of_all:get("queue"), thread_of_all:get("first"), thread_of_all:get("last")
	for i = first, last do
		file:write(queue[i], "\n")
	end
	file:close()
end
