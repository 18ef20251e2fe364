-- What wrk does on each connection: a request, a pause, and so on until the file `stop` is there; then the connection rests.
-- arguments: the file that ends it, the file that tells how far it is, milliseconds between an answer and the next request, method

local stop, progress, pause_ms
local threads = {}
sent = -1 -- wrk asks for one request before it begins, to look at it
answered = 0
refused = 0
rests = 0
reason = ""
whose = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  stop, progress, pause_ms = arguments[1], arguments[2], tonumber(arguments[3])
  wrk.method = arguments[4]
end

local function tell()
  local file = io.open(progress .. ".new", "w")
  file:write(string.format("%d %d %d\n", sent, answered, rests))
  file:close()
  os.rename(progress .. ".new", progress) -- whoever reads it sees one whole line
end

function delay()
  local file = io.open(stop)
  if not file then
    tell()
    return pause_ms
  end
  file:close()
  rests = rests + 1
  tell()
  return 1000 * 1000
end

function request()
  sent = sent + 1
  return wrk.format()
end

function response(status, _, body)
  answered = answered + 1
  if status >= 200 and status < 300 then
    whose[body] = (whose[body] or 0) + 1
  else
    refused = refused + 1
    if reason == "" then
      reason = string.format("%d %s", status, body)
    end
  end
end

local function text(value)
  return '"' .. value:gsub('[%c"\\]', " ") .. '"'
end

function done(summary)
  local thread, errors = threads[1], summary.errors
  local counts = {}
  for body, count in pairs(thread:get("whose")) do
    table.insert(counts, string.format("%s: %d", text(body), count))
  end
  print(string.format(
    'LOAD {"sent": %d, "answered": %d, "refused": %d, "reason": %s, "rests": %d, "counted": %d, '
      .. '"connect": %d, "read": %d, "write": %d, "late": %d, "whose": {%s}}',
    thread:get("sent"), thread:get("answered"), thread:get("refused"), text(thread:get("reason")), thread:get("rests"),
    summary.requests, errors.connect, errors.read, errors.write, errors.timeout, table.concat(counts, ", ")
  ))
end
