-- A reason that no reviewed sentence stands for would be shown as nothing.
with

scores as (

    select
        reason_1_code,
        reason_2_code,
        reason_3_code,
        reason_1_sentence,
        reason_2_sentence,
        reason_3_sentence
    from {{ ref('customer_churn_current') }}
    where run_id = {{ run_id() }}

),

reasons as (

    select
        reason_1_code as reason_code,
        reason_1_sentence as sentence
    from scores
    union all
    select
        reason_2_code as reason_code,
        reason_2_sentence as sentence
    from scores
    union all
    select
        reason_3_code as reason_code,
        reason_3_sentence as sentence
    from scores

),

final as (

    select
        reason_code,
        count(*) as customer_count
    from reasons
    where
        reason_code is not null
        and (sentence is null or position('{' in sentence) > 0)
    group by reason_code

)

select * from final
