with

publications as (

    select
        publication_id,
        as_of_date,
        run_id,
        action,
        recorded_at
    from {{ source('ops', 'publications') }}

)

select * from publications
