/*
 * What runs at the server; see scripts.h. Lua 5.1, for Redis 6 and later and Valkey: effects are replicated,
 * not the scripts, so TIME may be asked before a write. States are those of enum shared_state, places in a
 * record those of record.h: state at 2, machine at 3 to 18, value from 51 on. The value of one that has not
 * ended (1, 2) is what holds when it comes to nothing: the record that it took the place of, if there was
 * any, and before that those of other machines that keep the prompt, too (1), each 50 bytes without a value
 * of its own.
 */
#include "shared/scripts.h"

/* The fence of a paused or replaced machine; see shared.h. */
#define GUARD                                                                                                \
    "local seen = redis.call('GET', KEYS[1])\n"                                                              \
    "if seen ~= ARGV[1] then return redis.error_reply('FENCED ' .. (seen or 'none')) end\n"

/* 1 when the machine of a record has said within the last seconds that it is there. */
#define ALIVE                                                                                                \
    "local function alive(raw)\n"                                                                            \
    "  return redis.call('EXISTS', '{carpool}:m:' .. string.sub(raw, 3, 18))\n"                              \
    "end\n"

/* raw without what says that this machine keeps it, too. */
#define WITHOUT                                                                                              \
    "local function without(raw, machine)\n"                                                                 \
    "  local at = string.find(raw, '\\1\\1' .. machine, 51, true)\n"                                         \
    "  if not at or at % 50 ~= 1 then return raw end\n"                                                      \
    "  return string.sub(raw, 1, at - 1) .. string.sub(raw, at + 50)\n"                                      \
    "end\n"

/* A bucket is one number: the time at which it will be full, in microseconds of the server's clock. How far
 * that is away is its debt; 60 s is an empty bucket, whatever it holds. So it needs no tending, and expires
 * when it is full. More than five minutes are never believed: the clock was set back. */
#define BUCKETS                                                                                              \
    "local time = redis.call('TIME')\n"                                                                      \
    "local now = time[1] * 1000000 + time[2]\n"                                                              \
    "local function debt_of(key)\n"                                                                          \
    "  local full_at = tonumber(redis.call('GET', key) or now)\n"                                            \
    "  return math.min(math.max(full_at - now, 0), 300000000)\n"                                             \
    "end\n"                                                                                                  \
    "local function owe(key, debt)\n"                                                                        \
    "  if debt < 1 then redis.call('DEL', key) return end\n"                                                 \
    "  redis.call('SET', key, string.format('%.2f', now + debt), 'PX', math.ceil(debt / 1000) + 1)\n"        \
    "end\n"

/* KEYS: fence, alive, born. ARGV: number, how long to keep it (ms), how long alive (ms), a random name.
 * Numbers are texts of one length, so they compare as such. `born` names this stock of data: a position in
 * the stream of news means nothing in another one. */
static const char take[] =
    "local seen = redis.call('GET', KEYS[1])\n"
    "if seen and seen >= ARGV[1] then return redis.error_reply('FENCED ' .. seen) end\n"
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
    "redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])\n"
    "redis.call('SET', KEYS[3], ARGV[4], 'NX')\n"
    "return 1\n";

/* KEYS: fence, alive, open, settings, news, born. ARGV: number, how long alive (ms; 0: not to be said now),
 * how long to keep fence and open (ms), settings version known, born known, position, how many news at most.
 */
static const char tick[] = GUARD
    "if ARGV[2] ~= '0' then\n"
    "  redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])\n"
    "  redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
    "  redis.call('PEXPIRE', KEYS[3], ARGV[3])\n"
    "end\n"
    "local version = redis.call('HGET', KEYS[4], 'version') or '0'\n"
    "local document = tonumber(version) > tonumber(ARGV[4]) and redis.call('HGET', KEYS[4], 'document')\n"
    "local born = redis.call('GET', KEYS[6]) or ''\n"
    "local from = born == ARGV[5] and ARGV[6] or '0-0'\n"
    "local news = redis.call('XREAD', 'COUNT', ARGV[7], 'STREAMS', KEYS[5], from)\n"
    "return {version, document, born, news and news[1][2] or {}}\n";

/* KEYS: fence, then what ARGV[2] has letters for: r record, c cache, q open; then buckets. ARGV: number,
 * letters, how long to keep a record (ms), the record for q, then per_minute and cost of each bucket.
 * Answers: record, alive, cached, limited, then remaining, reset (ms), wait (ms) of each bucket. */
static const char arrive[] = GUARD ALIVE
    "local at = 1\n"
    "local function key(letter)\n"
    "  if not string.find(ARGV[2], letter, 1, true) then return false end\n"
    "  at = at + 1\n"
    "  return KEYS[at]\n"
    "end\n" WITHOUT "local record, cache, open = key('r'), key('c'), key('q')\n"
    "local raw = record and redis.call('GET', record)\n"
    "local state = raw and string.byte(raw, 2) or 7\n"
    "if state ~= 7 then\n"
    "  local there, me = alive(raw), string.sub(ARGV[4], 3, 18)\n"
    "  if open and string.sub(raw, 3, 18) ~= me and (state == 1 or state == 2 and there == 1) then\n"
    "    local rest = without(raw, me)\n"
    "    redis.call('SET', record, string.sub(rest, 1, 50) .. ARGV[4] .. string.sub(rest, 51), 'KEEPTTL')\n"
    "    redis.call('SADD', open, string.sub(record, -32))\n"
    "  end\n"
    "  return {raw, there}\n"
    "end\n"
    "local cached = cache and redis.call('GET', cache)\n"
    "if cached then return {raw, 0, cached} end\n"
    "local answer = {raw, 0, false, 0}\n"
    "if #KEYS > at then\n" BUCKETS "  local debts = {}\n"
    "  for i = at + 1, #KEYS do\n"
    "    local j = i - at\n"
    "    local rate, cost = tonumber(ARGV[3 + 2 * j]), math.max(tonumber(ARGV[4 + 2 * j]), 0)\n"
    "    local debt = debt_of(KEYS[i])\n"
    "    local wait = debt + math.min(cost, rate) * 60000000 / rate - 60000000\n"
    "    debts[j] = {debt, debt + cost * 60000000 / rate, rate}\n"
    "    if cost > 0 and wait > 1 then answer[4] = 1 else wait = 0 end\n"
    "    answer[4 + 3 * j] = math.ceil(wait / 1000)\n"
    "  end\n"
    "  for i = at + 1, #KEYS do\n"
    "    local j = i - at\n"
    "    local debt, rate = debts[j][1], debts[j][3]\n"
    "    if answer[4] == 0 then\n"
    "      debt = debts[j][2]\n"
    "      owe(KEYS[i], debt)\n"
    "    end\n"
    "    answer[2 + 3 * j] = math.floor(math.max(60000001 - debt, 0) * rate / 60000000)\n"
    "    answer[3 + 3 * j] = math.ceil(debt / 1000)\n"
    "  end\n"
    "end\n"
    "if open and answer[4] == 0 then\n"
    "  redis.call('SET', record, ARGV[4] .. (raw or ''), 'PX', ARGV[3])\n"
    "  redis.call('SADD', open, string.sub(record, -32))\n"
    "end\n"
    "return answer\n";

/* KEYS: fence, open, then the records. ARGV: number, take_unknown, machine, how long to keep a record (ms),
 * then each record as it will be. Answers, each: nothing for a claimed one, else the record; alive. */
static const char claim[] =
    GUARD ALIVE "local answer = {}\n" WITHOUT "for i = 3, #KEYS do\n"
                "  local raw = redis.call('GET', KEYS[i])\n"
                "  local state = raw and string.byte(raw, 2)\n"
                "  local ours = raw and string.sub(raw, 3, 18) == ARGV[3] and (state == 1 or state == 2)\n"
                "  local gone = raw and (state == 1 or state == 2) and alive(raw) == 0\n"
                "  if not raw or state == 7 or ours or gone and state == 1 or\n"
                "    ARGV[2] == '1' and (state == 5 or gone) then\n"
                "    local before = ours and string.sub(raw, 51) or raw and without(raw, ARGV[3]) or ''\n"
                "    redis.call('SET', KEYS[i], ARGV[i + 2] .. before, 'PX', ARGV[4])\n"
                "    redis.call('SADD', KEYS[2], string.sub(KEYS[i], -32))\n"
                "    raw = false\n"
                "  end\n"
                "  answer[2 * i - 5] = raw\n"
                "  answer[2 * i - 4] = raw and alive(raw) or 0\n"
                "end\n"
                "return answer\n";

/* KEYS: fence, open, then of each ending what its letters name: r record, c cache. ARGV: number, machine, how
 * long to keep a record (ms), then of each ending: letters, record, how long to keep it in the cache (ms). A
 * record of another machine is left alone, and so is a tombstone; but a deletion comes through. Only what has
 * not ended can be as if it had never been: then what it took the place of stands again. Each change is kept
 * anew, as in a machine's own store: or the id would be free here while that still answers. */
static const char settle[] =
    GUARD "local at = 2\n" WITHOUT "for i = 4, #ARGV, 3 do\n"
          "  local letters, record = ARGV[i], ARGV[i + 1]\n"
          "  local state = string.byte(record, 2)\n"
          "  if string.find(letters, 'r', 1, true) then\n"
          "    at = at + 1\n"
          "    local key = KEYS[at]\n"
          "    local head = redis.call('GETRANGE', key, 0, 17)\n"
          "    local ours = head == '' or string.sub(head, 3) == ARGV[2] and string.byte(head, 2) ~= 6\n"
          "    if state == 0 then\n"
          "      local going = string.byte(head, 2)\n"
          "      local raw = (going == 1 or going == 2) and redis.call('GET', key)\n"
          "      if raw and not ours then\n"
          "        redis.call('SET', key, without(raw, ARGV[2]), 'KEEPTTL')\n"
          "      elseif raw and #raw == 50 then\n"
          "        redis.call('DEL', key)\n"
          "      elseif raw then\n"
          "        redis.call('SET', key, string.sub(raw, 51), 'PX', ARGV[3])\n"
          "      end\n"
          "    elseif head ~= '' and state == 6 then\n"
          "      redis.call('SET', key, record, 'KEEPTTL')\n"
          "    elseif ours then\n"
          "      redis.call('SET', key, record, 'PX', ARGV[3])\n"
          "    end\n"
          "    redis.call('SREM', KEYS[2], string.sub(key, -32))\n"
          "  end\n"
          "  if string.find(letters, 'c', 1, true) then\n"
          "    at = at + 1\n"
          "    if state == 6 then\n"
          "      redis.call('DEL', KEYS[at])\n"
          "    else\n"
          "      redis.call('SET', KEYS[at], string.sub(record, 51), 'PX', ARGV[i + 2])\n"
          "    end\n"
          "  end\n"
          "end\n"
          "return 1\n";

/* KEYS: fence, then the records. Answers, each: the record or nothing; alive. */
static const char look[] = GUARD ALIVE "local answer = {}\n"
                                       "for i = 2, #KEYS do\n"
                                       "  local raw = redis.call('GET', KEYS[i])\n"
                                       "  answer[2 * i - 3] = raw\n"
                                       "  answer[2 * i - 2] = raw and alive(raw) or 0\n"
                                       "end\n"
                                       "return answer\n";

/* KEYS: fence, then buckets. ARGV: number, then per_minute and cost of each. */
static const char charge[] =
    GUARD BUCKETS "for i = 2, #KEYS do\n"
                  "  local rate, cost = tonumber(ARGV[2 * i - 2]), tonumber(ARGV[2 * i - 1])\n"
                  "  owe(KEYS[i], debt_of(KEYS[i]) + cost * 60000000 / rate)\n"
                  "end\n"
                  "return 1\n";

/* KEYS: fence, settings. ARGV: number, based_on, document. Answers: whether it is in force, the newest
 * version. A server that has lost its settings takes any. */
static const char put[] =
    GUARD "local version = tonumber(redis.call('HGET', KEYS[2], 'version') or '0')\n"
          "if version > tonumber(ARGV[2]) then return {0, version} end\n"
          "version = tonumber(ARGV[2]) + 1\n"
          "redis.call('HSET', KEYS[2], 'version', string.format('%.0f', version), 'document', ARGV[3])\n"
          "return {1, version}\n";

/* KEYS: fence, news. ARGV: number, machine, how many to keep, then kind and payload of each piece. */
static const char tell[] =
    GUARD "for i = 4, #ARGV, 2 do\n"
          "  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'm', ARGV[2], ARGV[i], ARGV[i + 1])\n"
          "end\n"
          "return 1\n";

const char *const script_texts[SCRIPT_N] = {
    [SCRIPT_TAKE] = take,     [SCRIPT_TICK] = tick, [SCRIPT_ARRIVE] = arrive,
    [SCRIPT_CLAIM] = claim,   [SCRIPT_LOOK] = look, [SCRIPT_SETTLE] = settle,
    [SCRIPT_CHARGE] = charge, [SCRIPT_PUT] = put,   [SCRIPT_TELL] = tell,
};
