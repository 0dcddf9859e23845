import {
  CONCURRENT_RETRY_MS,
  EXPIRED_BATCH_MAX,
  IDLE_STATE_KEPT_MS,
  SETTLED_KEPT_MS,
  SLICE_MS,
  STATE_KEPT_MS,
  WINDOW_SLICES,
} from './constants.ts'

/**
 * Redis Cluster runs a script only on keys of one slot, and a call is granted by all of its rules
 * or by none: everything counted is in one slot, by this hash tag.
 */
export const KEY_PREFIX = '{bzzz:llm-limits}:'

/**
 * What the scripts share. A state is `{slices = {{at, requests, tokens}, ...}, requests, tokens,
 * open, day, daySpent, dayHeld, month, monthSpent, monthHeld}`, packed as a whole; each is read
 * once and written once, however many calls of the batch count in it. Money is a double, exact up
 * to 2^53 nano-dollars.
 */
const COMMON = `
local PREFIX = KEYS[1]
local input = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = input.now or (time[1] * 1000 + math.floor(time[2] / 1000))
local slice = math.floor(now / ${SLICE_MS})
local today = math.floor(now / 86400000)

-- The civil calendar of a number of days since 1970.
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year * 12 + month - 1, doy, mp
end
local thisMonth = civil(today)

local function monthEnd()
  local day = today + 1
  while civil(day) == thisMonth do day = day + 1 end
  return day * 86400000
end

local function freeAt(at) return (at + ${WINDOW_SLICES + 1}) * ${SLICE_MS} end

local states = {}
local function load(key)
  local state = states[key]
  if state then return state end
  local packed = redis.call('GET', PREFIX .. 's:' .. key)
  state = packed and cmsgpack.unpack(packed) or {slices = {}, requests = 0, tokens = 0, open = 0}
  local first = 1
  while state.slices[first] and freeAt(state.slices[first][1]) <= now do
    state.requests = state.requests - state.slices[first][2]
    state.tokens = state.tokens - state.slices[first][3]
    first = first + 1
  end
  if first > 1 then
    local kept = {}
    for i = first, #state.slices do kept[#kept + 1] = state.slices[i] end
    state.slices = kept
  end
  if state.day ~= today then state.day, state.daySpent, state.dayHeld = today, 0, 0 end
  if state.month ~= thisMonth then
    state.month, state.monthSpent, state.monthHeld = thisMonth, 0, 0
  end
  states[key] = state
  return state
end

local function save()
  for key, state in pairs(states) do
    local idle = state.open == 0 and state.monthSpent + state.monthHeld == 0
    local kept = idle and ${IDLE_STATE_KEPT_MS} or ${STATE_KEPT_MS}
    redis.call('SET', PREFIX .. 's:' .. key, cmsgpack.pack(state), 'PX', kept)
  end
end

local function current(state)
  local last = state.slices[#state.slices]
  if last and last[1] >= slice then return last end
  last = {slice, 0, 0}
  state.slices[#state.slices + 1] = last
  return last
end

local function giveBack(state, held)
  state.open = state.open - 1
  if state.day == held.day then state.dayHeld = state.dayHeld - held.nanoUsd end
  if state.month == held.month then state.monthHeld = state.monthHeld - held.nanoUsd end
end

local function heldOf(id)
  local packed = redis.call('GET', PREFIX .. 'h:' .. id)
  return packed and cmsgpack.unpack(packed)
end
`

/** What ended takes the place of what it held. */
const CHARGE = `
for _, ended in ipairs(input.settlements) do
  local done = PREFIX .. 'd:' .. ended.id
  if redis.call('SET', done, '1', 'NX', 'PX', ${SETTLED_KEPT_MS}) then
    local held = heldOf(ended.id)
    local base = held or {keys = ended.keys, tokens = 0, slice = 0, day = today, month = thisMonth}
    for _, key in ipairs(base.keys) do
      local state = load(key)
      local more = ended.tokens - base.tokens
      local target = more > 0 and current(state) or nil
      if more < 0 then
        for _, one in ipairs(state.slices) do
          if one[1] == base.slice then target = one end
        end
      end
      if target then
        target[3] = target[3] + more
        state.tokens = state.tokens + more
      end
      if state.day == base.day then state.daySpent = state.daySpent + ended.nanoUsd end
      if state.month == base.month then state.monthSpent = state.monthSpent + ended.nanoUsd end
      if held then giveBack(state, held) end
    end
    redis.call('DEL', PREFIX .. 'h:' .. ended.id)
    redis.call('ZREM', KEYS[2], ended.id)
  end
end
`

/** KEYS: prefix, open claims. */
export const RESERVE = `${COMMON}${CHARGE}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0,
    ${EXPIRED_BATCH_MAX})) do
  local held = heldOf(id)
  if held then
    for _, key in ipairs(held.keys) do giveBack(load(key), held) end
    redis.call('DEL', PREFIX .. 'h:' .. id)
  end
  redis.call('ZREM', KEYS[2], id)
end

local function wait(state, field, over)
  for _, one in ipairs(state.slices) do
    over = over - one[field]
    if over <= 0 then return freeAt(one[1]) - now end
  end
  local last = state.slices[#state.slices]
  return freeAt(last and last[1] or slice) - now
end

local verdicts = {}
for index, claim in ipairs(input.claims) do
  local refusal = {-1, '', -1}
  local function refuse(share, kind, waitMs)
    if waitMs > refusal[3] then refusal = {share - 1, kind, waitMs} end
  end
  for share, one in ipairs(claim.shares) do
    local state, b = load(one.key), one.bounds
    if b.rpm and state.requests + 1 > b.rpm then
      refuse(share, 'requests', wait(state, 2, state.requests + 1 - b.rpm))
    end
    if b.tpm and state.tokens + claim.tokens > b.tpm then
      refuse(share, 'tokens', wait(state, 3, state.tokens + claim.tokens - b.tpm))
    end
    if b.open and state.open >= b.open then refuse(share, 'concurrent', ${CONCURRENT_RETRY_MS}) end
    local day, month = state.daySpent + state.dayHeld, state.monthSpent + state.monthHeld
    if b.day and (day >= b.day or day + claim.nanoUsd > b.day) then
      refuse(share, 'day', (today + 1) * 86400000 - now)
    end
    if b.month and (month >= b.month or month + claim.nanoUsd > b.month) then
      refuse(share, 'month', monthEnd() - now)
    end
  end
  local keys, uses = {}, {}
  for share, one in ipairs(claim.shares) do
    local state = load(one.key)
    keys[share] = one.key
    if refusal[1] < 0 then
      local last = current(state)
      last[2] = last[2] + 1
      last[3] = last[3] + claim.tokens
      state.requests = state.requests + 1
      state.tokens = state.tokens + claim.tokens
      if not claim.final then
        state.open = state.open + 1
        state.dayHeld = state.dayHeld + claim.nanoUsd
        state.monthHeld = state.monthHeld + claim.nanoUsd
      end
    end
    local last = state.slices[#state.slices]
    uses[share] = {state.requests, state.tokens, last and freeAt(last[1]) - now or 0}
  end
  if refusal[1] < 0 and not claim.final then
    local held = {keys = keys, tokens = claim.tokens, nanoUsd = claim.nanoUsd, slice = slice,
      day = today, month = thisMonth}
    redis.call('SET', PREFIX .. 'h:' .. claim.id, cmsgpack.pack(held), 'PX', ${STATE_KEPT_MS})
    redis.call('ZADD', KEYS[2], now + input.ttl, claim.id)
  end
  verdicts[index] = {refusal, uses}
end
save()
return cjson.encode(verdicts)
`

/** KEYS: prefix, open claims. */
export const SETTLE = `${COMMON}${CHARGE}
save()
return 0
`

/** KEYS: prefix, open claims. Only what is still held is held for longer. */
export const RENEW = `
local input = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = input.now or (time[1] * 1000 + math.floor(time[2] / 1000))
for _, id in ipairs(input.ids) do redis.call('ZADD', KEYS[2], 'XX', now + input.ttl, id) end
return 0
`
