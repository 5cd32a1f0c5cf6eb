-- wrk: sends the requests of the file BENCH_REQUESTS in turn; they are separated by NUL bytes.
-- {TOKEN} is one user's for each thread (BENCH_TOKENS), so a connection always carries one token;
-- {N} is another number in every request.
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
   local file = io.open(os.getenv("BENCH_REQUESTS"), "rb")
   before, after, count = {}, {}, 0
   for text in string.gmatch(file:read("*a"), "%Z+") do
      text = text:gsub("{TOKEN}", token)
      local from, to = text:find("{N}", 1, true)
      count = count + 1
      before[count], after[count] = text:sub(1, from - 1), text:sub(to + 1)
   end
   file:close()
   n = 72594 + number * 10000000
end

function request()
   n = n + 1
   local which = n % count + 1
   return before[which] .. n .. after[which]
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "p50_us": %d, "p99_us": %d, ' ..
      '"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      e.connect, e.read, e.write, e.timeout, e.status))
end
