-- wrk: one user per thread, so a connection always carries one token; `since` changes in every
-- request. BENCH_HEAD is the request with {SINCE} and {TOKEN}; BENCH_TOKENS a list, one per thread.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(args)
   local tokens = {}
   for token in string.gmatch(os.getenv("BENCH_TOKENS"), "%S+") do
      tokens[#tokens + 1] = token
   end
   local token = tokens[number % #tokens + 1]
   local head = os.getenv("BENCH_HEAD"):gsub("{TOKEN}", token)
   local from, to = head:find("{SINCE}", 1, true)
   before, after = head:sub(1, from - 1), head:sub(to + 1)
   since = 72594 + number * 1000000
end

function request()
   since = since + 1
   return before .. "s" .. since .. "_757284974_4483_1956732_" .. since % 977 .. after
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, "max_us": %d, ' ..
      '"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      latency.max, e.connect, e.read, e.write, e.timeout, e.status))
end
