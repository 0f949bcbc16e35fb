-- wrk: a fresh prompt in every request, so that nothing is answered from a cache or a record.
dofile("tests/bench/summary.lua")
local thread = 0
function setup(t) t:set("id", thread); thread = thread + 1 end
local n = 0
function request()
  n = n + 1
  return wrk.format("POST", nil, { ["Content-Type"] = "application/json" },
    string.format('{"username":"bench","prompt":"What is %d times %d, and why?","priority":"HIGH"}', id, n))
end
