-- Shared by the scripts: requests with the management key, and the figures of a run as one JSON line.
local headers = {
	["Authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or ""),
	["Content-Type"] = "application/json",
}

function bench_request(method, path, body)
	return wrk.format(method, path, headers, body)
end

function bench_lines(name)
	local lines = {}
	for line in io.lines(os.getenv(name)) do
		lines[#lines + 1] = line
	end
	return lines
end

function done(summary, latency, requests)
	local errors = summary.errors
	io.write(string.format(
		'RESULT {"rate": %.2f, "requests": %d, "seconds": %.3f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, ' ..
		'"refused": %d, "broken": %d}\n',
		summary.requests / summary.duration * 1e6, summary.requests, summary.duration / 1e6,
		latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
		errors.status, errors.connect + errors.read + errors.write + errors.timeout))
	if bench_done then
		bench_done()
	end
end
