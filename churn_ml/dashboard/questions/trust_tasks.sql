-- What each task of one run took at its last try, in the order of their starts.
with

tries as (

    select distinct on (task_id, map_index)
        task_id,
        map_index,
        try_number,
        started_at,
        finished_at,
        seconds,
        peak_memory_mb,
        rows_in,
        rows_out
    from marts.run_costs
    where scoring_run_key = %(scoring_run_key)s
    order by task_id asc, map_index asc, try_number desc

)

select
    task_id,
    max(try_number) as try_number,
    count(*)::integer as part_count,
    min(started_at) as started_at,
    extract(epoch from max(finished_at) - min(started_at))::double precision as seconds,
    max(peak_memory_mb) as peak_memory_mb,
    sum(rows_in)::bigint as rows_in,
    sum(rows_out)::bigint as rows_out
from tries
group by task_id
order by started_at
