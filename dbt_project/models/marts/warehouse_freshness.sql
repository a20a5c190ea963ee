{{ config(materialized='view') }}

with

runs as (

    select
        run_id,
        as_of_date,
        known_as_of,
        max_age_days
    from {{ ref('dim_scoring_run') }}
    where run_id = any((select ops.published_run_ids())::text[])

),

newest as (

    select *
    from runs
    order by as_of_date desc
    limit 1

),

-- A night runs at 02:00 UTC and describes the day before: the one place with a clock.
due as (

    select (now() at time zone 'UTC' - interval '2 hours')::date - 1 as due_date

),

final as (

    select
        newest.run_id,
        newest.as_of_date as last_as_of_date,
        newest.known_as_of as last_known_as_of,
        due.due_date as expected_as_of_date,
        due.due_date - newest.as_of_date as age_days,
        coalesce(due.due_date - newest.as_of_date > newest.max_age_days, true)
            as is_stale
    from due
    left join newest
        on true

)

select * from final
