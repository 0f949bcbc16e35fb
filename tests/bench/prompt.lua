-- wrk: a fresh prompt in every request, so that nothing is answered from a cache or a record. The argument is the number of the run.
dofile("tests/bench/summary.lua")
local thread = 0
function setup(t) t:set("id", thread); thread = thread + 1 end
local n, run = 0, "0"
function init(args) run = args[1] or run end
function request()
  n = n + 1
  return wrk.format("POST", nil, { ["Content-Type"] = "application/json" },
    string.format('{"username":"bench","prompt":"What is %s times %d%08d, and why?","priority":"HIGH"}', run, id, n))
end
