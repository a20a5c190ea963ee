with

run_bases as (

    select
        run_id,
        base_role,
        base_as_of_date,
        base_run_id
    from {{ source('ops', 'run_bases') }}

)

select * from run_bases
