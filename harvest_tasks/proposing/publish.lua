--[[
Publishes the proposals of some books, each by itself: writes one that is new, only updates the time of one that is
not, or removes it. Whether it is new is decided against what Redis holds, so any number of workers may publish the
same book. A book with an error does not stop the others.

A proposal is new when there is none, when its action, side or sources changed, when its stop appeared, vanished
or moved by more than eps (relative), when its kill score moved by more than eps (absolute), or when the stored one
is too old.

KEYS[1..n]  hash: the proposal of each book, all under one prefix
KEYS[n+1]   stream of published proposals; not given when nothing is streamed

ARGV[1]  now in unix seconds
ARGV[2]  a proposal computed at or before this time is too old (as computed_at_utc, which sorts as text)
ARGV[3]  eps
ARGV[4]  lifetime of a proposal in ms
ARGV[5]  length of the stream, approximate
ARGV[6]  JSON: for each of the n books a list of its symbol, then fields and values of the proposal, all text;
         the symbol alone: remove the proposal

Reply  for each book: published | unchanged | removed | absent | wrong_type (nothing was written), or its error
Error  NOPERM <command> <key>: nothing was written
]]

local now, too_old, eps = ARGV[1], ARGV[2], tonumber(ARGV[3])
local lifetime_ms, stream_length, rows = ARGV[4], ARGV[5], cjson.decode(ARGV[6])
local stream = KEYS[#rows + 1]
-- 0.501 - 0.5 is a few ulp above 0.001: a move of exactly eps is not more than eps.
local allowed = eps * (1 + 1e-9)
local FIRST_FIELD = 2
local NAMES = {
  'harvest_action', 'position_side', 'position_source', 'market_state_source',
  'new_sl_proposed', 'kill_score', 'computed_at_utc',
}

local function has_type(name, wanted)
  local found = redis.call('TYPE', name).ok
  return found == wanted or found == 'none'
end

local function moved(old, new, most)
  local a, b = tonumber(old), tonumber(new)
  -- Written so that text and NaN, too, count as moved.
  return not (a and b and math.abs(b - a) <= most)
end

local function stop_moved(old, new)
  if old == new then return false end
  return moved(old, new, allowed * math.abs(tonumber(old) or 0))
end

local function stored_at(key)
  local stored = {}
  for i, value in ipairs(redis.call('HMGET', key, unpack(NAMES))) do
    stored[NAMES[i]] = value
  end
  return stored
end

local function is_new(stored, new)
  for i = 1, 4 do
    if stored[NAMES[i]] ~= new[NAMES[i]] then return true end
  end
  if stop_moved(stored.new_sl_proposed, new.new_sl_proposed) then return true end
  if moved(stored.kill_score, new.kill_score, allowed) then return true end
  local computed = stored.computed_at_utc or ''
  return computed <= too_old or computed > new.computed_at_utc
end

local function publish(key, row)
  if not has_type(key, 'hash') then return 'wrong_type' end
  if stream and not has_type(stream, 'stream') then return 'wrong_type' end

  if #row < FIRST_FIELD then
    return redis.call('DEL', key) == 1 and 'removed' or 'absent'
  end

  local new = {}
  for i = FIRST_FIELD, #row, 2 do
    new[row[i]] = row[i + 1]
  end
  if not is_new(stored_at(key), new) then
    redis.call('HSET', key, 'last_update_epoch', now)
    return 'unchanged'
  end

  redis.call('DEL', key)
  redis.call('HSET', key, unpack(row, FIRST_FIELD))
  redis.call('PEXPIRE', key, lifetime_ms)
  if stream then
    redis.call('XADD', stream, 'MAXLEN', '~', stream_length, '*', 'symbol', unpack(row))
  end
  return 'published'
end

-- A command that the user may not run would end a book half way. Checked for the first key only, as rights go by prefix:
-- to check each book would cost 5 to 7 % of a call.
local needed = {[KEYS[1]] = {'DEL', 'HSET', 'PEXPIRE'}}
if stream then needed[stream] = {'XADD'} end
for key, commands in pairs(needed) do
  for _, command in ipairs(commands) do
    if not redis.acl_check_cmd(command, key) then
      return redis.error_reply('NOPERM ' .. command .. ' ' .. key)
    end
  end
end

local replies = {}
for i, row in ipairs(rows) do
  local done, reply = pcall(publish, KEYS[i], row)
  replies[i] = done and reply or redis.error_reply(reply)
end
return replies
