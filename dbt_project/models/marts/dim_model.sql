{{ config(incremental_strategy='append') }}

with

versions as (

    select
        model_number,
        model_version,
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
    from {{ ref('stg_ml__model_versions') }}

),

final as (

    select
        model_number as model_key,
        model_version,
        label_definition,
        family,
        validation,
        calibration,
        value_family,
        as_of_date as trained_as_of_date,
        known_as_of as trained_known_as_of,
        row_count::integer as training_row_count,
        churned_count::integer as training_churned_count,
        recorded_at as registered_at,
        (recorded_at at time zone 'UTC')::date as registered_date
    from versions
    {% if is_incremental() %}
        where model_number not in (select known.model_key from {{ this }} as known)
    {% endif %}

)

select * from final
