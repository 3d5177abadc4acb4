-- One subject of shared limits: takes what a process tells, judges what it asks.
--
-- `access/counters.py` says what this must do and why; tests hold both to the same
-- answers. What is different here: a process counts as dead when its places have
-- not been told for DEAD seconds, and the time may go back a little.
--
-- KEYS[1] the subject's tally. ARGV: the process; its Ask in msgpack; the moment in
-- seconds, or nothing for this server's. Gives an Answer in msgpack, its times in
-- seconds from now. One write at the end, so that a fault before it changes nothing.

local owner, ask = ARGV[1], cmsgpack.unpack(ARGV[2])
local rates, among, held, calls = ask[2], ask[3], ask[4], ask[5]
local wanted, corrections = ask[6], ask[7]

local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1e6
end

local stored = redis.call('GET', KEYS[1])
local buckets, places, lent_until, kept_until = {}, {}, 0, 0
if stored then
  -- What is not ours counts nothing, and is written over.
  local is_read, tally = pcall(cmsgpack.unpack, stored)
  if is_read and type(tally) == 'table' and #tally == 4 then
    buckets, places, lent_until, kept_until = tally[1], tally[2], tally[3], tally[4]
  end
end

-- Of a bucket: first moment, last moment, requests, tokens.
local FIRST, LAST, REQUESTS, TOKENS = 1, 2, 3, 4
-- Of what a process holds: how many places, when it was told.
local COUNT, TOLD = 1, 2

-- The server's clock was set back: for a while time stands still.
local newest = buckets[#buckets]
if newest and newest[FIRST] > now then
  if newest[FIRST] > now + WINDOW then
    buckets, newest = {}, nil
  else
    now = newest[FIRST]
  end
end
lent_until = math.min(lent_until, now + LEISURE)
kept_until = math.min(kept_until, now + LEISURE)

while buckets[1] and now - buckets[1][LAST] >= WINDOW do
  table.remove(buckets, 1)
end
local requests, tokens, at_work = 0, 0, 0
for _, bucket in ipairs(buckets) do
  requests = requests + bucket[REQUESTS]
  tokens = tokens + bucket[TOKENS]
end
for _, place in pairs(places) do
  place[TOLD] = math.min(place[TOLD], now)
  at_work = at_work + place[COUNT]
end

for _, correction in ipairs(corrections) do
  for _, bucket in ipairs(buckets) do
    if bucket[FIRST] == correction[1] then
      bucket[REQUESTS] = bucket[REQUESTS] + correction[2]
      bucket[TOKENS] = bucket[TOKENS] + correction[3]
      requests = requests + correction[2]
      tokens = tokens + correction[3]
      break
    end
  end
end

at_work = at_work + held - (places[owner] and places[owner][COUNT] or 0)
places[owner] = nil
if rates.concurrency and at_work + #calls > rates.concurrency then
  for other, place in pairs(places) do
    if place[TOLD] + DEAD <= now then
      at_work = at_work - place[COUNT]
      places[other] = nil
    end
  end
end
local others = at_work - held

-- Counts at this moment; gives the bucket.
local function count(more_requests, more_tokens)
  requests, tokens = requests + more_requests, tokens + more_tokens
  local bucket = buckets[#buckets]
  if bucket and now - bucket[FIRST] < GRAIN then
    bucket[LAST] = math.max(bucket[LAST], now)
    bucket[REQUESTS] = bucket[REQUESTS] + more_requests
    bucket[TOKENS] = bucket[TOKENS] + more_tokens
  else
    bucket = {now, now, more_requests, more_tokens}
    buckets[#buckets + 1] = bucket
  end
  return bucket
end

-- Seconds until so much more of one kind fits under its limit.
local function seconds_until(excess, kind)
  for _, bucket in ipairs(buckets) do
    excess = excess - bucket[kind]
    if excess <= 0 then
      return bucket[LAST] + WINDOW - now
    end
  end
  return WINDOW
end

local function refusal(limit, wait)
  return {limit = limit, retry_after = math.min(math.max(math.ceil(wait), 1), WINDOW)}
end

-- Which limit a call would break, if any.
local function judge(sure)
  if rates.concurrency and at_work >= rates.concurrency then
    return refusal('concurrency', 1)
  end
  if rates.requests and requests >= rates.requests then
    return refusal('requests', seconds_until(requests + 1 - rates.requests, REQUESTS))
  end
  if rates.tokens then
    if sure > rates.tokens then
      return refusal('size', WINDOW)
    end
    local needed = math.max(sure, 1)
    local excess = tokens + needed - rates.tokens
    if excess > 0 then
      return refusal('tokens', seconds_until(excess, TOKENS))
    end
  end
  return nil
end

local verdicts = {}
for position, call in ipairs(calls) do
  local verdict = judge(call[1])
  if not verdict then
    verdict = 0
    if rates.concurrency then
      at_work = at_work + 1
    end
    if rates.tokens then
      verdict = math.min(call[1] + call[2], rates.tokens - tokens)
      count(1, verdict)
    elseif rates.requests then
      count(1, 0)
    end
  end
  verdicts[position] = verdict
end

-- What may be handed out ahead: enough for whole calls, or nothing.
local function lend()
  local share = ROOM_PER_PROCESS * among
  local lent, part = 0, 1
  if rates.concurrency then
    lent = math.min(wanted[3], math.floor((rates.concurrency - at_work) / share))
    if lent <= 0 then
      return nil
    end
  end
  if rates.requests and wanted[1] > 0 then
    part = math.min(part, math.floor((rates.requests - requests) / share) / wanted[1])
  end
  if rates.tokens and wanted[2] > 0 then
    part = math.min(part, math.floor((rates.tokens - tokens) / share) / wanted[2])
  end
  local whole = math.floor(wanted[1] * part)
  if whole <= 0 then
    return nil
  end
  return {
    rates.requests and whole or 0,
    rates.tokens and math.floor(wanted[2] * whole / wanted[1]) or 0,
    lent,
  }
end

-- Whether nobody will miss for a moment what is not yet returned.
local function is_ample()
  return (rates.concurrency or rates.tokens)
    and (not rates.concurrency or at_work * AMPLE <= rates.concurrency)
    and (not rates.tokens or tokens * AMPLE <= rates.tokens)
end

local ahead = lend()
local lease = 0
if ahead then
  lent_until = now + LEISURE
  at_work = at_work + ahead[3]
  if rates.requests or rates.tokens then
    count(ahead[1], ahead[2])[LAST] = lent_until
  end
end
if ahead or (#calls > 0 and is_ample()) then
  kept_until = now + LEISURE
  lease = LEISURE
end
if at_work > others then
  places[owner] = {at_work - others, now}
end

-- Kept for as long as it says anything.
newest = buckets[#buckets]
local ends = math.max(newest and newest[LAST] + WINDOW or now, lent_until, kept_until)
for _, place in pairs(places) do
  ends = math.max(ends, place[TOLD] + DEAD)
end
if newest or next(places) or ends > now then
  local kept_ms = math.ceil((math.max(ends - now, 0) + GRAIN) * 1000)
  local tally = cmsgpack.pack({buckets, places, lent_until, kept_until})
  redis.call('SET', KEYS[1], tally, 'PX', kept_ms)
else
  redis.call('DEL', KEYS[1])
end

return cmsgpack.pack({
  verdicts,
  newest and newest[FIRST] or 0,
  ahead or {0, 0, 0},
  lease,
  math.max(0, (rates.requests or 0) - requests),
  math.max(0, (rates.tokens or 0) - tokens),
  newest and newest[LAST] + WINDOW - now or 0,
  lent_until - now,
  kept_until - now,
  others,
})
