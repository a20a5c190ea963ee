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

-- A function of the owner tells it: the reader has no right on schema ops.
attempts as (

    select
        attempted_at,
        as_of_date,
        status,
        failed_since_count
    from ops.last_attempt()

),

final as (

    select
        newest.run_id,
        newest.as_of_date as last_as_of_date,
        newest.known_as_of as last_known_as_of,
        due.due_date as expected_as_of_date,
        due.due_date - newest.as_of_date as age_days,
        coalesce(due.due_date - newest.as_of_date > newest.max_age_days, true)
            as is_stale,
        attempts.as_of_date as last_attempt_as_of_date,
        attempts.status as last_attempt_status,
        attempts.attempted_at as last_attempt_at,
        (attempts.attempted_at at time zone 'UTC')::date as last_attempt_date,
        attempts.failed_since_count
    from due
    cross join attempts
    left join newest
        on true

)

select * from final
