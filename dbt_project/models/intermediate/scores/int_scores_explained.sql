{{ config(materialized='ephemeral') }}

with

scores as (

    select
        run_id,
        customer_id,
        as_of_date,
        reason_1_code,
        reason_1_value,
        reason_1_percentile,
        reason_1_points,
        reason_2_code,
        reason_2_value,
        reason_2_percentile,
        reason_2_points,
        reason_3_code,
        reason_3_value,
        reason_3_percentile,
        reason_3_points
    from {{ ref('int_scores_dated') }}
    where
        run_id = {{ run_id() }}
        and as_of_date = {{ as_of_date() }}

),

-- "{yes|no}" is written out once per template, not once per customer.
templates as (

    select
        reason_code,
        split_part(reason_code, '__', 1) as feature_name,
        value_format,
        sentence_without_value,
        regexp_replace(sentence, '[{]([^|{}]*)[|]([^|{}]*)[}]', '\1')
            as sentence_if_true,
        regexp_replace(sentence, '[{]([^|{}]*)[|]([^|{}]*)[}]', '\2')
            as sentence_if_false
    from {{ ref('reason_templates') }}
    where dataset = '{{ var('dataset') }}'

),

words as (

    select
        feature_name,
        value,
        words
    from {{ ref('reason_words') }}
    where dataset = '{{ var('dataset') }}'

),

actions as (

    select
        reason_code,
        action_code,
        action
    from {{ ref('reason_actions') }}
    where dataset = '{{ var('dataset') }}'

),

final as (

    select
        scores.run_id,
        scores.customer_id,
        scores.as_of_date,
        scores.reason_1_code,
        {{ reason_sentence(1) }} as reason_1_sentence,
        scores.reason_1_points,
        scores.reason_2_code,
        {{ reason_sentence(2) }} as reason_2_sentence,
        scores.reason_2_points,
        scores.reason_3_code,
        {{ reason_sentence(3) }} as reason_3_sentence,
        scores.reason_3_points,
        coalesce(
            actions_1.action_code, actions_2.action_code, actions_3.action_code
        ) as recommended_action_code,
        coalesce(actions_1.action, actions_2.action, actions_3.action)
            as recommended_action
    from scores
    left join templates as templates_1
        on scores.reason_1_code = templates_1.reason_code
    left join words as words_1
        on
            templates_1.feature_name = words_1.feature_name
            and scores.reason_1_value = words_1.value
    left join actions as actions_1
        on scores.reason_1_code = actions_1.reason_code
    left join templates as templates_2
        on scores.reason_2_code = templates_2.reason_code
    left join words as words_2
        on
            templates_2.feature_name = words_2.feature_name
            and scores.reason_2_value = words_2.value
    left join actions as actions_2
        on scores.reason_2_code = actions_2.reason_code
    left join templates as templates_3
        on scores.reason_3_code = templates_3.reason_code
    left join words as words_3
        on
            templates_3.feature_name = words_3.feature_name
            and scores.reason_3_value = words_3.value
    left join actions as actions_3
        on scores.reason_3_code = actions_3.reason_code

)

select * from final
