-- Commits one book: writes its new position and what was decided, and removes the inbox entries that led there.
--
-- The position's version must be the one that the plan was made from. Every guard is checked again, now; if one of them
-- differs from what the plan assumed, nothing is written and the reply says what to assume instead.
--
-- A clock that is set back leaves publish times ahead of it. They count as of the first commit that sees them, so the
-- window stays closed for up to a minute longer than it has to, never shorter.
--
-- KEYS  1 position hash  2 inbox  3 trade ids, newest generation  4 trade ids, generation before  5 lock
--       6 kill switch  7 window list  8 decisions stream  9 dead letter stream  10 counts hash  11 waiting set
--       12 held zset  13 open set  14 suggestions stream  15 trade intent stream
--       16 harvests list of the symbol  17 lifecycles list of the symbol  18.. dedup key of each intent, in order
-- ARGV  1 book  2 version  3 now in unix ms, or '' for the server's clock  4 price age ms from which it is stale
--       5 youngest price age ms (negative: ahead of the clock)  6 intents allowed in any 60 s  7 dedup TTL s
--       8 lock token  9 id of the last inbox entry consumed, or ''  10 unix ms until which to look again, or ''
--       11 '1' if the position is open  12 applied  13 duplicate  14 dead-lettered (counts of this commit)
--       15 trade ids per generation  16 out stream MAXLEN  17 decisions MAXLEN  18 dead letter MAXLEN
--       19 rows kept of a history list
--       then six lists, each preceded by its length:
--         position fields: name, value          trades: trade id, digest
--         intents: 'live' or 'shadow', price time ms, intent_id, symbol, intent_type, payload
--         journal: number of values, then name, value, ...
--         history: 'harvest' or 'lifecycle', JSON
--         dead letters: reason, source id, sha256, size, head
-- Reply {'committed', inbox entries left}
--       {'conflict'}                      another commit came first: load again
--       {'revise', now ms, killed 0|1, intents the window still allows,
--        n, trade id, digest, ..., m, intent id, ...}
--                                         trades that were applied before; intents whose dedup key exists
-- Error WRONGTYPE <key>, NOTANUMBER <key>, or NOPERM <command> <key>: nothing was written

local position, inbox, trades, trades_before, lock, kill, window, decisions, deadletter, counts, waiting, held, open =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12],
  KEYS[13]
local targets = {shadow = KEYS[14], live = KEYS[15]}
local histories = {harvest = KEYS[16], lifecycle = KEYS[17]}
local DEDUP = 17
local book, version, given_now = ARGV[1], ARGV[2], ARGV[3]
local oldest, youngest, per_minute = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local dedup_ttl, token, consumed, look_until, is_open = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local applied, duplicate, dead = ARGV[12], ARGV[13], ARGV[14]
local generation_size, out_maxlen = tonumber(ARGV[15]), ARGV[16]
local decisions_maxlen, deadletter_maxlen, history_kept = ARGV[17], ARGV[18], tonumber(ARGV[19])

local cursor = 20
local function next_number()
  cursor = cursor + 1
  return tonumber(ARGV[cursor - 1])
end

-- The first and the last place of `n` arguments that go to a command as they are.
local function span(n)
  cursor = cursor + n
  return cursor - n, cursor - 1
end

-- A list of rows, each with these names.
local function rows(names)
  local found = {}
  for i = 1, next_number() do
    local row = {}
    for name in names:gmatch('%S+') do
      row[name] = ARGV[cursor]
      cursor = cursor + 1
    end
    found[i] = row
  end
  return found
end

local first_field, last_field = span(2 * next_number())
local n_trades = next_number()
local first_trade, last_trade = span(2 * n_trades)
local intents = rows('mode price_ms intent_id symbol intent_type payload')
local journal = {}
for i = 1, next_number() do
  journal[i] = {span(next_number())}
end
local history = rows('kind json')
local refused = rows('reason source_id sha256 size head')

-- Checks: nothing is written above the line that says so.

-- A key of another type, or a command that the user may not run, would end the script half way.
local wrong
local function uses(kind, key, ...)
  local found = redis.call('TYPE', key)['ok']
  if found ~= kind and found ~= 'none' then
    wrong = wrong or 'WRONGTYPE ' .. key
  end
  for _, command in ipairs({...}) do
    if not redis.acl_check_cmd(command, key) then
      wrong = wrong or 'NOPERM ' .. command .. ' ' .. key
    end
  end
end
uses('hash', position, 'HSET', 'HINCRBY')
uses('stream', inbox, 'XTRIM', 'XLEN')
uses('set', open, is_open == '1' and 'SADD' or 'SREM')
uses('set', waiting, 'SREM')
uses('zset', held, look_until ~= '' and 'ZADD' or 'ZREM')
uses('hash', counts, 'HINCRBY')
uses('list', window, 'LINDEX', 'LSET')
uses('string', lock, 'GET', 'DEL')
if n_trades > 0 then
  uses('hash', trades, 'HSET', 'HLEN')
  uses('hash', trades_before, 'UNLINK')
end
if #intents > 0 then
  uses('list', window, 'LPUSH', 'LTRIM')
end
for i, intent in ipairs(intents) do
  uses('string', KEYS[DEDUP + i], 'SET')
  uses('stream', targets[intent.mode], 'XADD')
end
if #journal > 0 then
  uses('stream', decisions, 'XADD')
end
for _, row in ipairs(history) do
  uses('list', histories[row.kind], 'LPUSH', 'LTRIM')
end
if #refused > 0 then
  uses('stream', deadletter, 'XADD')
end
if wrong then
  return redis.error_reply(wrong)
end

for _, n in ipairs(redis.call('HMGET', counts, 'applied', 'duplicate', 'deadlettered', 'intents')) do
  if n and not n:match('^%d+$') then
    return redis.error_reply('NOTANUMBER ' .. counts)
  end
end

if (redis.call('HGET', position, 'version') or '0') ~= version then
  return {'conflict'}
end

local now = tonumber(given_now)
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local earlier, ids = {}, {}
for place = first_trade, last_trade, 2 do
  ids[#ids + 1] = ARGV[place]
end
for _, generation in ipairs({trades, trades_before}) do
  if n_trades > 0 and redis.call('EXISTS', generation) == 1 then
    for i, digest in ipairs(redis.call('HMGET', generation, unpack(ids))) do
      if digest then
        earlier[#earlier + 1] = ids[i]
        earlier[#earlier + 1] = digest
      end
    end
  end
end

local function is_killed()
  local kind = redis.call('TYPE', kill)['ok']
  if kind ~= 'string' then
    return kind ~= 'none'
  end
  local switch = redis.call('GET', kill)
  return switch ~= '' and switch ~= '0'
end

-- Publish times are in order, newest first: there is room if the oldest one that would have to be gone is gone.
local function is_full()
  local at = #intents <= per_minute and redis.call('LINDEX', window, per_minute - #intents)
  return #intents > per_minute or (at and tonumber(at) > now - 60000)
end

local function room()
  local left = per_minute
  for _, at in ipairs(redis.call('LRANGE', window, 0, per_minute - 1)) do
    if tonumber(at) > now - 60000 then
      left = left - 1
    end
  end
  return left
end

local fresh, published = true, {}
for i, intent in ipairs(intents) do
  local age = now - tonumber(intent.price_ms)
  -- Asked this way round, an age that is not a number is not fresh.
  fresh = fresh and age >= youngest and age < oldest
  if redis.call('EXISTS', KEYS[DEDUP + i]) == 1 then
    published[#published + 1] = intent.intent_id
  end
end

if #earlier > 0 or (#intents > 0 and (is_killed() or not fresh or #published > 0 or is_full())) then
  -- Complete even for a plan without intents: the next one may have some.
  local reply = {'revise', now, is_killed() and 1 or 0, room(), #earlier / 2}
  for _, value in ipairs(earlier) do
    reply[#reply + 1] = value
  end
  reply[#reply + 1] = #published
  for _, value in ipairs(published) do
    reply[#reply + 1] = value
  end
  return reply
end

-- Writes.

redis.call('HSET', position, unpack(ARGV, first_field, last_field))
redis.call('HINCRBY', position, 'version', 1)
redis.call(is_open == '1' and 'SADD' or 'SREM', open, book)

if n_trades > 0 then
  redis.call('HSET', trades, unpack(ARGV, first_trade, last_trade))
  if redis.call('HLEN', trades) >= generation_size then
    redis.call('UNLINK', trades_before)
    redis.call('HINCRBY', position, 'trades_generation', 1)
  end
end

-- A publish time after now is from before the clock was set back: it counts as now.
local newest = redis.call('LINDEX', window, 0)
if newest and tonumber(newest) > now then
  for i, at in ipairs(redis.call('LRANGE', window, 0, -1)) do
    redis.call('LSET', window, i - 1, math.min(tonumber(at), now))
  end
end
for i, intent in ipairs(intents) do
  redis.call('SET', KEYS[DEDUP + i], intent.intent_id, 'EX', dedup_ttl)
  redis.call('LPUSH', window, now)
  redis.call('XADD', targets[intent.mode], 'MAXLEN', '~', out_maxlen, '*', 'payload', intent.payload,
             'intent_id', intent.intent_id, 'symbol', intent.symbol, 'intent_type', intent.intent_type)
end
if #intents > 0 then
  redis.call('LTRIM', window, 0, per_minute - 1)
  redis.call('HINCRBY', counts, 'intents', #intents)
end

for _, record in ipairs(journal) do
  redis.call('XADD', decisions, 'MAXLEN', '~', decisions_maxlen, '*', unpack(ARGV, unpack(record)))
end

for _, row in ipairs(history) do
  redis.call('LPUSH', histories[row.kind], row.json)
  redis.call('LTRIM', histories[row.kind], 0, history_kept - 1)
end

for _, entry in ipairs(refused) do
  redis.call('XADD', deadletter, 'MAXLEN', '~', deadletter_maxlen, '*', 'reason', entry.reason,
             'source_id', entry.source_id, 'sha256', entry.sha256, 'size', entry.size, 'head', entry.head)
end

for name, n in pairs({applied = applied, duplicate = duplicate, deadlettered = dead}) do
  if n ~= '0' then
    redis.call('HINCRBY', counts, name, n)
  end
end

if look_until ~= '' then
  redis.call('ZADD', held, look_until, book)
else
  redis.call('ZREM', held, book)
end

if consumed ~= '' then
  local ms, seq = consumed:match('^(%d+)-(%d+)$')
  redis.call('XTRIM', inbox, 'MINID', '=', ms .. '-' .. string.format('%.0f', seq + 1))
end
local left = redis.call('XLEN', inbox)
if left == 0 then
  redis.call('SREM', waiting, book)
end
if redis.call('GET', lock) == token then
  redis.call('DEL', lock)
end
return {'committed', left}
