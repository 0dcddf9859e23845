import { sql, type Kysely } from 'kysely'

/**
 * Model calls: one row for what each used and cost, and what is counted against limits. The
 * functions of the limits are the whole of their logic on PostgreSQL; see
 * functions/llm-proxy/limits/.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await createUsage(db)
  await createLimitTables(db)
  for (const made of [MONTH, OPEN, WAIT, EXPIRE, KEYS, CHARGE, RESERVE, SETTLE])
    await made.execute(db)
}

async function createUsage(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('llm_usage')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('at', 'timestamptz', (column) => column.notNull())
    .addColumn('token_id', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('project', 'text', (column) => column.notNull())
    .addColumn('agent', 'text', (column) => column.notNull())
    .addColumn('path', 'text', (column) => column.notNull())
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('served_model', 'text', (column) => column.notNull())
    .addColumn('upstream', 'text', (column) => column.notNull())
    .addColumn('peer', 'text')
    .addColumn('status', 'integer', (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('cached', 'boolean', (column) => column.notNull())
    .addColumn('input_tokens', 'bigint', (column) => column.notNull())
    .addColumn('cached_input_tokens', 'bigint', (column) => column.notNull())
    .addColumn('cache_write_tokens', 'bigint', (column) => column.notNull())
    .addColumn('output_tokens', 'bigint', (column) => column.notNull())
    .addColumn('reasoning_tokens', 'bigint', (column) => column.notNull())
    .addColumn('images', 'integer', (column) => column.notNull())
    .addColumn('estimated', 'boolean', (column) => column.notNull())
    .addColumn('cost_nano_usd', 'bigint', (column) => column.notNull())
    .addColumn('priced', 'boolean', (column) => column.notNull())
    .addColumn('price_map', 'text', (column) => column.notNull())
    .addColumn('first_byte_ms', 'integer')
    .addColumn('total_ms', 'integer', (column) => column.notNull())
    .addColumn('exchange', 'text')
    .execute()
  for (const columns of [['at'], ['project', 'at']]) {
    await db.schema
      .createIndex(`llm_usage_${columns.join('_')}`)
      .on('llm_usage')
      .columns(columns)
      .execute()
  }
}

async function createLimitTables(db: Kysely<unknown>): Promise<void> {
  // A ring of 61 seconds: second s stands at s % 61 + 1. Beside it the sums of what it holds, and
  // the newest second that is not empty, so that it is read as a whole only once a second. Counters
  // change with every call, so the pages keep room for the next version of a row beside the last.
  await sql`
    create table llm_limit_states (
      key text primary key,
      slice bigint not null default 0,
      requests bigint[] not null default array_fill(0::bigint, array[61]),
      tokens bigint[] not null default array_fill(0::bigint, array[61]),
      requests_sum bigint not null default 0,
      tokens_sum bigint not null default 0,
      newest bigint not null default 0,
      open bigint not null default 0,
      day bigint not null default 0,
      day_spent bigint not null default 0,
      day_held bigint not null default 0,
      month bigint not null default 0,
      month_spent bigint not null default 0,
      month_held bigint not null default 0
    ) with (fillfactor = 50)
  `.execute(db)
  await sql`
    create table llm_limit_claims (
      id text primary key,
      keys text[] not null,
      tokens bigint not null,
      nano_usd bigint not null,
      slice bigint not null,
      day bigint not null,
      month bigint not null,
      expires_ms bigint not null
    )
  `.execute(db)
  await sql`create index llm_limit_claims_expires on llm_limit_claims (expires_ms)`.execute(db)
  // That a claim was settled is remembered apart, so that those still open are few.
  await sql`
    create table llm_limit_settled (id text primary key, until_ms bigint not null)
  `.execute(db)
}

const MONTH = sql`
  create function llm_limit_month(_now_ms bigint) returns bigint language sql immutable as $$
    select (extract(year from t) * 12 + extract(month from t) - 1)::bigint
    from (select to_timestamp(_now_ms / 1000) at time zone 'UTC' as t) as one
  $$
`

// Locks in the order of the keys, so that no two batches wait for each other. All of a batch is
// counted in the newest second that any of its keys has seen, should the clock go back.
const OPEN = sql`
  create function llm_limit_open(_keys text[], _now_ms bigint) returns bigint language plpgsql as $$
  declare
    _slice bigint;
    _oldest bigint;
    _day bigint := _now_ms / 86400000;
    _month bigint := llm_limit_month(_now_ms);
  begin
    insert into llm_limit_states (key)
      select k from unnest(_keys) as k
      where not exists (select from llm_limit_states s where s.key = k) order by k
      on conflict do nothing;
    select greatest(_now_ms / 1000, max(locked.slice)), min(locked.slice) into _slice, _oldest
    from (
      select s.slice from llm_limit_states s where s.key = any(_keys) order by s.key for update
    ) as locked;
    -- Days and months begin with a second.
    if _oldest = _slice then return _slice; end if;
    update llm_limit_states s set
      slice = _slice,
      (requests, requests_sum) = (
        select array_agg(kept order by p), sum(kept)::bigint from (
          select p, case when s.slice - (s.slice - p + 1) % 61 >= _slice - 60 then v else 0 end
          from unnest(s.requests) with ordinality as u(v, p)) as turned(p, kept)),
      (tokens, tokens_sum) = (
        select array_agg(kept order by p), sum(kept)::bigint from (
          select p, case when s.slice - (s.slice - p + 1) % 61 >= _slice - 60 then v else 0 end
          from unnest(s.tokens) with ordinality as u(v, p)) as turned(p, kept)),
      day = _day,
      day_spent = case when s.day = _day then s.day_spent else 0 end,
      day_held = case when s.day = _day then s.day_held else 0 end,
      month = _month,
      month_spent = case when s.month = _month then s.month_spent else 0 end,
      month_held = case when s.month = _month then s.month_held else 0 end
    where s.key = any(_keys) and (s.slice < _slice or s.day <> _day or s.month <> _month);
    return _slice;
  end $$
`

// Until so much of what a ring counts is free again, or all of it, with what the batch itself
// has taken in the present second.
const WAIT = sql`
  create function llm_limit_wait(
    _ring bigint[], _slice bigint, _fresh bigint, _over bigint, _now_ms bigint)
  returns bigint language sql immutable as $$
    with counted as (
      select _slice - (_slice - p + 1) % 61 as at, v
      from unnest(_ring) with ordinality as u(v, p) where v <> 0
    ), freed as (select at, sum(v) over (order by at) as total from counted)
    select (coalesce(min(at) filter (where total >= _over),
      case when _fresh > 0 then _slice end, max(at), _slice) + 61) * 1000 - _now_ms
    from freed
  $$
`

// What expired claims held. Called with the keys of all of them locked.
const EXPIRE = sql`
  create function llm_limit_expire(_ids text[], _now_ms bigint) returns void language plpgsql as $$
  declare
    _one record;
  begin
    for _one in
      with gone as (
        delete from llm_limit_claims
        where id = any(_ids) and expires_ms <= _now_ms returning *
      )
      select k as key, day, month, count(*) as open, sum(nano_usd) as held
      from gone, unnest(gone.keys) as k group by k, day, month
    loop
      update llm_limit_states s set
        open = s.open - _one.open,
        day_held = s.day_held - case when s.day = _one.day then _one.held else 0 end,
        month_held = s.month_held - case when s.month = _one.month then _one.held else 0 end
      where s.key = _one.key;
    end loop;
  end $$
`

const KEYS = sql`
  create function llm_limit_keys(_ended jsonb) returns setof text language sql immutable as $$
    select distinct k from jsonb_array_elements(_ended) as e,
      jsonb_array_elements_text(e -> 'keys') as k
  $$
`

/** `_ended`: `[{id, keys, t: tokens, n: nano-dollars}]`. Called with all of their keys locked. */
const CHARGE = sql`
    create function llm_limit_charge(_ended jsonb, _slice bigint, _now bigint, _kept_ms bigint)
    returns void language plpgsql as $$
    declare
      _day bigint := _now / 86400000;
      _month bigint := llm_limit_month(_now);
      _one record;
    begin
      for _one in
        with ended as (
          select * from jsonb_to_recordset(_ended) as e(id text, keys text[], t bigint, n bigint)
        ), fresh as (
          insert into llm_limit_settled (id, until_ms) select e.id, _now + _kept_ms from ended e
          on conflict do nothing returning id
        ), held as (
          delete from llm_limit_claims c using fresh f where c.id = f.id returning c.*
        ), known as (
          select f.id, coalesce(h.keys, e.keys) as keys, coalesce(h.tokens, 0) as tokens,
            coalesce(h.nano_usd, 0) as nano_usd, coalesce(h.slice, _slice) as slice,
            coalesce(h.day, _day) as day, coalesce(h.month, _month) as month,
            (h.id is not null)::int as open, e.t, e.n
          from fresh f join ended e using (id) left join held h using (id)
        ), charges as (
          select k as key, c.t - c.tokens as more, c.slice, c.day, c.month, c.open,
            c.nano_usd as held, c.n as spent
          from known c, unnest(c.keys) as k
        ), placed as (
          select *, case when more > 0 then _slice else slice end as target from charges
        )
        select key, target, day, month, sum(open) as open, sum(held) as held,
          sum(spent) as spent,
          case when target >= _slice - 60 then sum(more) else 0 end as more
        from placed group by key, target, day, month
      loop
        update llm_limit_states s set
          tokens[_one.target % 61 + 1] = s.tokens[_one.target % 61 + 1] + _one.more,
          tokens_sum = s.tokens_sum + _one.more,
          newest = case when _one.more > 0 then _slice else s.newest end,
          open = s.open - _one.open,
          day_spent = s.day_spent + case when s.day = _one.day then _one.spent else 0 end,
          day_held = s.day_held - case when s.day = _one.day then _one.held else 0 end,
          month_spent = s.month_spent + case when s.month = _one.month then _one.spent else 0 end,
          month_held = s.month_held - case when s.month = _one.month then _one.held else 0 end
        where s.key = _one.key;
      end loop;
    end $$
  `

/**
 * `_batch`: `{keys, bounds: [{rpm, tpm, open, day, month}], claims: [{id, s: [index of key],
 * t: tokens, n: nano-dollars}], ended}`; a share is a key and its bounds, and the order of the keys
 * is that of the bounds. A claim without an id holds nothing. `ended` is charged first, as by
 * `llm_limit_settle`. Answers `[[share, kind, wait], [[requests, tokens, reset], ...]]` for each
 * claim.
 *
 * Plans that fit every batch: to plan anew for each takes longer than to run.
 */
const RESERVE = sql`
    create function llm_limit_reserve(
      _batch jsonb, _ttl_ms bigint, _kept_ms bigint, _given_ms bigint default null)
    returns json language plpgsql
    set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
    declare
      _now bigint := coalesce(_given_ms, floor(extract(epoch from clock_timestamp()) * 1000));
      _keys text[] := array(select jsonb_array_elements_text(_batch -> 'keys'));
      _rpm bigint[]; _tpm bigint[]; _opm bigint[]; _dpm bigint[]; _mpm bigint[];
      _requests bigint[]; _tokens bigint[]; _open bigint[]; _day bigint[]; _month bigint[];
      _new_requests bigint[]; _new_open bigint[]; _new_tokens bigint[]; _new_nano bigint[];
      _last bigint[];
      _expired text[];
      _all text[];
      _slice bigint;
      _at int;
      _claim record;
      _k int; _share int; _wait bigint;
      _kind text; _refused int; _longest bigint;
      _uses text[]; _out text[] := '{}';
      _ids text[] := '{}'; _granted int[] := '{}'; _index int := -1;
      _day_end bigint; _month_end bigint;
      _this_month bigint := llm_limit_month(_now);
    begin
      perform set_config('synchronous_commit', 'off', true);
      -- Read without a lock; what is still there once the keys are locked is taken.
      select coalesce(array_agg(id), '{}') into _expired from (
        select id from llm_limit_claims where expires_ms <= _now order by expires_ms limit 100
      ) as due;
      _all := _keys;
      if cardinality(_expired) > 0 or jsonb_array_length(_batch -> 'ended') > 0 then
        _all := array(
          select k from unnest(_keys) as k union
          select k from llm_limit_keys(_batch -> 'ended') as k union
          select k from llm_limit_claims c, unnest(c.keys) as k where c.id = any(_expired));
      end if;
      _slice := llm_limit_open(_all, _now);
      if jsonb_array_length(_batch -> 'ended') > 0 then
        perform llm_limit_charge(_batch -> 'ended', _slice, _now, _kept_ms);
      end if;
      if cardinality(_expired) > 0 then perform llm_limit_expire(_expired, _now); end if;
      _at := _slice % 61 + 1;
      _day_end := (_now / 86400000 + 1) * 86400000;
      _month_end := extract(epoch from
        date_trunc('month', to_timestamp(_now / 1000) at time zone 'UTC') + interval '1 month') * 1000;
      select array_agg((b ->> 'rpm')::bigint order by p), array_agg((b ->> 'tpm')::bigint order by p),
        array_agg((b ->> 'open')::bigint order by p), array_agg((b ->> 'day')::bigint order by p),
        array_agg((b ->> 'month')::bigint order by p)
        into _rpm, _tpm, _opm, _dpm, _mpm
        from jsonb_array_elements(_batch -> 'bounds') with ordinality as u(b, p);
      select array_agg(s.requests_sum order by p), array_agg(s.tokens_sum order by p),
        array_agg(s.open order by p), array_agg(s.day_spent + s.day_held order by p),
        array_agg(s.month_spent + s.month_held order by p),
        array_agg(case when s.newest >= _slice - 60 then s.newest end order by p),
        array_agg(0 order by p), array_agg(0 order by p), array_agg(0 order by p),
        array_agg(0 order by p)
        into _requests, _tokens, _open, _day, _month, _last,
          _new_requests, _new_open, _new_tokens, _new_nano
        from unnest(_keys) with ordinality as u(k, p) join llm_limit_states s on s.key = u.k;
      for _claim in
        select * from jsonb_to_recordset(_batch -> 'claims') as c(id text, s int[], t bigint, n bigint)
      loop
        _index := _index + 1;
        _refused := -1; _kind := ''; _longest := -1; _share := -1;
        foreach _k in array _claim.s loop
          _share := _share + 1;
          if _requests[_k] + 1 > _rpm[_k] then
            select llm_limit_wait(s.requests, s.slice, _new_requests[_k],
                _requests[_k] + 1 - _rpm[_k], _now) into _wait
              from llm_limit_states s where s.key = _keys[_k];
            if _wait > _longest then _refused := _share; _kind := 'requests'; _longest := _wait; end if;
          end if;
          if _tokens[_k] + _claim.t > _tpm[_k] then
            select llm_limit_wait(s.tokens, s.slice, _new_requests[_k],
                _tokens[_k] + _claim.t - _tpm[_k], _now) into _wait
              from llm_limit_states s where s.key = _keys[_k];
            if _wait > _longest then _refused := _share; _kind := 'tokens'; _longest := _wait; end if;
          end if;
          if _open[_k] >= _opm[_k] and 1000 > _longest then
            _refused := _share; _kind := 'concurrent'; _longest := 1000;
          end if;
          if _day[_k] >= _dpm[_k] or _day[_k] + _claim.n > _dpm[_k] then
            _wait := _day_end - _now;
            if _wait > _longest then _refused := _share; _kind := 'day'; _longest := _wait; end if;
          end if;
          if _month[_k] >= _mpm[_k] or _month[_k] + _claim.n > _mpm[_k] then
            _wait := _month_end - _now;
            if _wait > _longest then _refused := _share; _kind := 'month'; _longest := _wait; end if;
          end if;
        end loop;
        _uses := '{}';
        foreach _k in array _claim.s loop
          if _refused < 0 then
            _requests[_k] := _requests[_k] + 1;
            _tokens[_k] := _tokens[_k] + _claim.t;
            if _claim.id is not null then
              _open[_k] := _open[_k] + 1;
              _new_open[_k] := _new_open[_k] + 1;
            end if;
            _day[_k] := _day[_k] + _claim.n;
            _month[_k] := _month[_k] + _claim.n;
            _new_requests[_k] := _new_requests[_k] + 1;
            _new_tokens[_k] := _new_tokens[_k] + _claim.t;
            _new_nano[_k] := _new_nano[_k] + _claim.n;
            _last[_k] := _slice;
          end if;
          _uses := _uses || format('[%s,%s,%s]', _requests[_k], _tokens[_k],
            coalesce((_last[_k] + 61) * 1000 - _now, 0));
        end loop;
        if _refused < 0 and _claim.id is not null then _granted := _granted || _index; end if;
        _out := _out || format('[[%s,"%s",%s],[%s]]',
          _refused, _kind, _longest, array_to_string(_uses, ','));
      end loop;
      update llm_limit_states s set
        requests[_at] = s.requests[_at] + n.r, tokens[_at] = s.tokens[_at] + n.t,
        requests_sum = s.requests_sum + n.r, tokens_sum = s.tokens_sum + n.t, newest = _slice,
        open = s.open + n.o, day_held = s.day_held + n.n, month_held = s.month_held + n.n
        from unnest(_keys, _new_requests, _new_open, _new_tokens, _new_nano) as n(key, r, o, t, n)
        where s.key = n.key and n.r > 0;
      if cardinality(_granted) > 0 then
        insert into llm_limit_claims (id, keys, tokens, nano_usd, slice, day, month, expires_ms)
          select c ->> 'id', array(select _keys[i::int] from jsonb_array_elements_text(c -> 's') as i),
            (c ->> 't')::bigint, (c ->> 'n')::bigint, _slice, _now / 86400000, _this_month,
            _now + _ttl_ms
          from unnest(_granted) as g cross join lateral (select _batch -> 'claims' -> g as c) as one;
      end if;
      return ('[' || array_to_string(_out, ',') || ']')::json;
    end $$
  `

const SETTLE = sql`
    create function llm_limit_settle(_ended jsonb, _kept_ms bigint, _given_ms bigint default null)
    returns void language plpgsql
    set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
    declare
      _now bigint := coalesce(_given_ms, floor(extract(epoch from clock_timestamp()) * 1000));
    begin
      perform set_config('synchronous_commit', 'off', true);
      perform llm_limit_charge(
        _ended, llm_limit_open(array(select llm_limit_keys(_ended)), _now), _now, _kept_ms);
    end $$
  `
