with

model_versions as (

    select
        model_number,
        model_version,
        dataset,
        label_definition,
        family,
        validation,
        calibration,
        value_family,
        as_of_date,
        known_as_of,
        row_count,
        churned_count,
        recorded_at
    from {{ source('ml', 'model_versions') }}

)

select * from model_versions
