{{
    config(indexes=[
        {'columns': ['as_of_date', 'run_id'], 'type': 'brin'},
    ])
}}

with

runs as (

    select
        run_id,
        scoring_run_key,
        as_of_date_key,
        known_as_of
    from {{ ref('dim_scoring_run') }}
    where run_id = {{ run_id() }}

),

customers as (

    select
        customer_key,
        customer_id
    from {{ ref('dim_customer') }}

),

scores as (

    select
        customer_id,
        as_of_date,
        reason_1_code,
        reason_1_value,
        reason_1_percentile,
        reason_1_points,
        reason_1_is_actionable,
        reason_2_code,
        reason_2_value,
        reason_2_percentile,
        reason_2_points,
        reason_2_is_actionable,
        reason_3_code,
        reason_3_value,
        reason_3_percentile,
        reason_3_points,
        reason_3_is_actionable
    from {{ ref('int_scores_dated') }}
    where
        run_id = {{ run_id() }}
        and as_of_date = {{ as_of_date() }}

),

reasons as (
    {% for rank in [1, 2, 3] %}
        select
            customer_id,
            as_of_date,
            {{ rank }} as reason_rank,
            reason_{{ rank }}_code as reason_code,
            reason_{{ rank }}_value as reason_value,
            reason_{{ rank }}_percentile as reason_percentile,
            reason_{{ rank }}_points as reason_points,
            reason_{{ rank }}_is_actionable as is_actionable
        from scores
        where reason_{{ rank }}_code is not null
        {% if not loop.last %} union all {% endif %}
    {% endfor %}
),

final as (

    select
        runs.run_id,
        runs.scoring_run_key,
        reasons.customer_id,
        customers.customer_key,
        reasons.as_of_date,
        runs.as_of_date_key,
        runs.known_as_of,
        reasons.reason_rank,
        reasons.reason_code,
        split_part(reasons.reason_code, '__', 1) as feature_name,
        split_part(reasons.reason_code, '__', 2) as direction,
        reasons.reason_value,
        reasons.reason_percentile::integer as reason_percentile,
        reasons.reason_points,
        reasons.is_actionable
    from reasons
    cross join runs
    inner join customers
        on reasons.customer_id = customers.customer_id

)

select * from final
