with

label_nights as (

    select
        run_id,
        as_of_date,
        known_as_of
    from {{ source('ops', 'label_nights') }}

)

select * from label_nights
