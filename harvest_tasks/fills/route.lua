-- Moves a batch of input entries to the inboxes of their books, acknowledging each in the same step.
--
-- The batch must be the oldest entries that are pending in the group, in stream order. It is refused while an older
-- entry is pending, so the entries of a book reach its inbox in stream order even if two watchers are at work.
--
-- A symbol is tracked either as one book that nets or as two legs: its first fill decides.
--
-- KEYS  1 lease  2 source stream  3 dead letter stream  4 books set  5 waiting set  6 counts hash  7 lost hash
--       8 adoption hash  9 cursor hash  10 set of books with a broken inbox
-- ARGV  1 lease token  2 lease ms  3 group  4 inbox key prefix  5 dead letter MAXLEN
--       6 packed freeze for a book first seen while entries are lost
--       7 packed freeze for a book first seen while open positions are adopted
--       8 packed freeze for a book whose inbox was broken and works again
--       9 entries ever read when the last of these was, or ''
--       10 lock token of the brain that will process the books, or '' to load none  11 lock ms  12 lock key prefix
--       13 position key prefix  14 key prefix of risk proposals  15 entries of a book to load at most
--       then for each entry: id, kind, target, packed, reason, sha256, size, head
--         kind B  to the inbox of the book `target`, which is known from here on
--         kind K  to the inbox of the book `target`; ignored if it is not known and fits the symbol's mode
--         kind O  to the inbox of the book `target`; ignored if it is not known
--         kind S  to the inbox of every known book of the symbol `target`; ignored where there is none
--         kind I  ignored
--         kind R  refused: to the dead letter; `packed` freezes the book `target` unless that is empty
--         kind M  refused: to the dead letter; `packed` freezes every known book of the symbol `target`
--         kind W  refused: to the dead letter; the inbox of the book `target` cannot take it
-- Reply {'routed', entries moved, {book, ...}, ...}  books whose inbox received something, in that order; for a book
--                                                   that was to be loaded, replies follow: to the SET of its lock, to
--                                                   HGETALL of its position, to XRANGE of its inbox, and its stop
--                                                   distance
--       {'lease_lost'}                               the lease is another's
--       {'older_pending'}                            an older entry is pending: claim that first
--       {'mixed', id, id, ...}                       entries of kind B, K or R whose symbol is tracked in the other mode
--       {'broken', id, id, ...}                      entries for one book whose inbox is not a stream
-- Error WRONGTYPE <key>, NOTANUMBER <key>, or NOPERM <command> <key>: nothing was written

local lease, source, deadletter, books, waiting, counts, lost, adoption, cursor, broken =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local token, lease_ms, group, inbox_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local deadletter_maxlen, loss_freeze, adoption_freeze, repair_freeze = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local read = ARGV[9]
local lock_token, lock_ms, lock_prefix = ARGV[10], ARGV[11], ARGV[12]
local position_prefix, risk_prefix, load_at_most = ARGV[13], ARGV[14], ARGV[15]
local FIRST, WIDTH = 16, 8

local function wrong_type(key, kind)
  local found = redis.call('TYPE', key)['ok']
  return found ~= kind and found ~= 'none'
end

-- Checks: nothing is written above the line that says so.

if wrong_type(lease, 'string') then
  return redis.error_reply('WRONGTYPE ' .. lease)
end
if redis.call('GET', lease) ~= token then
  return {'lease_lost'}
end
for key, kind in pairs({[source] = 'stream', [deadletter] = 'stream', [books] = 'set', [waiting] = 'set',
                        [counts] = 'hash', [lost] = 'hash', [adoption] = 'hash',
                        [cursor] = 'hash', [broken] = 'set'}) do
  if wrong_type(key, kind) then
    return redis.error_reply('WRONGTYPE ' .. key)
  end
end
for _, n in ipairs(redis.call('HMGET', counts, 'in', 'ignored', 'deadlettered')) do
  if n and not n:match('^%d+$') then
    return redis.error_reply('NOTANUMBER ' .. counts)
  end
end
-- A command that the user may not run would end the script half way.
for key, commands in pairs({
  [source] = {'XACK'}, [deadletter] = {'XADD'}, [inbox_prefix] = {'XADD'}, [books] = {'SADD'}, [waiting] = {'SADD'},
  [broken] = {'SADD', 'SREM', 'EXISTS'}, [lost] = {'EXISTS'}, [adoption] = {'EXISTS'}, [counts] = {'HINCRBY'},
  [cursor] = {'HSET'}, [lease] = {'PEXPIRE'},
}) do
  for _, command in ipairs(commands) do
    if not redis.acl_check_cmd(command, key) then
      return redis.error_reply('NOPERM ' .. command .. ' ' .. key)
    end
  end
end
if redis.call('XPENDING', source, group)[2] ~= ARGV[FIRST] then
  return {'older_pending'}
end

local known = {}
local function is_known(book)
  if known[book] == nil then
    known[book] = redis.call('SISMEMBER', books, book) == 1
  end
  return known[book]
end

local function candidates(symbol)
  return {symbol, symbol .. ':LONG', symbol .. ':SHORT'}
end

local function others(book)
  local symbol = book:match('^([^:]+):')
  return symbol and {symbol} or {book .. ':LONG', book .. ':SHORT'}
end

local soon, mixed = {}, {'mixed'}
for i = FIRST, #ARGV, WIDTH do
  local kind, target = ARGV[i + 1], ARGV[i + 2]
  if (kind == 'B' or kind == 'K' or kind == 'R') and target ~= '' and not soon[target] and not is_known(target) then
    local clash = false
    for _, other in ipairs(others(target)) do
      clash = clash or soon[other] or is_known(other)
    end
    if clash then
      mixed[#mixed + 1] = ARGV[i]
    elseif kind ~= 'K' then
      soon[target] = true
    end
  end
end
if #mixed > 1 then
  return mixed
end

local is_bad = {}
local function bad_inbox(book)
  if is_bad[book] == nil then
    is_bad[book] = wrong_type(inbox_prefix .. book, 'stream')
  end
  return is_bad[book]
end

local for_one_book = {B = true, K = true, O = true, R = true}
local unreachable = {'broken'}
for i = FIRST, #ARGV, WIDTH do
  if for_one_book[ARGV[i + 1]] and ARGV[i + 2] ~= '' and bad_inbox(ARGV[i + 2]) then
    unreachable[#unreachable + 1] = ARGV[i]
  end
end
if #unreachable > 1 then
  return unreachable
end

-- Writes.

local after_loss, adopting = redis.call('EXISTS', lost) == 1, redis.call('EXISTS', adoption) == 1
local were_broken = redis.call('EXISTS', broken) == 1
local notified, order, total = {}, {}, {['in'] = 0, ignored = 0, deadlettered = 0}

local function count(name)
  total[name] = total[name] + 1
end

local function add(book, packed)
  -- No MAXLEN: an inbox holds facts that are nowhere else. commit.lua trims exactly what was consumed.
  redis.call('XADD', inbox_prefix .. book, '*', 'e', packed)
  count('in')
end

local function deliver(book, packed)
  if were_broken and redis.call('SREM', broken, book) == 1 then
    add(book, repair_freeze)
  end
  add(book, packed)
  if not notified[book] then
    notified[book] = true
    order[#order + 1] = book
    redis.call('SADD', waiting, book)
  end
end

local function introduce(book)
  if not is_known(book) then
    redis.call('SADD', books, book)
    known[book] = true
    if after_loss then
      deliver(book, loss_freeze)
    end
    if adopting then
      deliver(book, adoption_freeze)
    end
  end
end

local function ignore()
  count('in')
  count('ignored')
end

local function deliver_to_known(targets, packed)
  local reached = false
  for _, book in ipairs(targets) do
    if is_known(book) and not bad_inbox(book) then
      deliver(book, packed)
      reached = true
    end
  end
  return reached
end

local moved = 0
for i = FIRST, #ARGV, WIDTH do
  local id, kind, target, packed = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('XACK', source, group, id) == 1 then
    moved = moved + 1
    if kind == 'B' then
      introduce(target)
      deliver(target, packed)
    elseif kind == 'K' or kind == 'O' then
      if not deliver_to_known({target}, packed) then
        ignore()
      end
    elseif kind == 'S' then
      if not deliver_to_known(candidates(target), packed) then
        ignore()
      end
    elseif kind == 'I' then
      ignore()
    else
      count('in')
      count('deadlettered')
      redis.call('XADD', deadletter, 'MAXLEN', '~', deadletter_maxlen, '*', 'reason', ARGV[i + 4], 'source_id', id,
                 'sha256', ARGV[i + 5], 'size', ARGV[i + 6], 'head', ARGV[i + 7])
      if kind == 'M' then
        deliver_to_known(candidates(target), packed)
      elseif kind == 'W' then
        redis.call('SADD', books, target)
        redis.call('SADD', broken, target)
      elseif target ~= '' then
        introduce(target)
        deliver(target, packed)
      end
    end
  end
end

for name, n in pairs(total) do
  if n > 0 then
    redis.call('HINCRBY', counts, name, n)
  end
end
redis.call('HSET', cursor, 'id', ARGV[#ARGV - WIDTH + 1], 'read', read)
redis.call('PEXPIRE', lease, lease_ms)

-- All is moved by now. What cannot be loaded becomes an error in its place of the reply.
local function loaded(book)
  return {
    book,
    redis.pcall('SET', lock_prefix .. book, lock_token, 'NX', 'PX', lock_ms),
    redis.pcall('HGETALL', position_prefix .. book),
    redis.pcall('XRANGE', inbox_prefix .. book, '-', '+', 'COUNT', load_at_most),
    redis.pcall('HGET', risk_prefix .. book:match('^[^:]+'), 'stop_dist_pct'),
  }
end

local reply = {'routed', moved}
for _, book in ipairs(order) do
  reply[#reply + 1] = lock_token == '' and {book} or loaded(book)
end
return reply
