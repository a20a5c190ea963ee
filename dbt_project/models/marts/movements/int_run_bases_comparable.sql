{{ config(materialized='ephemeral', contract={'enforced': false}) }}

with

bases as (

    select
        base_role,
        base_as_of_date,
        base_run_id,
        base_run_number
    from {{ ref('int_run_bases_numbered') }}
    where
        run_id = {{ run_id() }}
        and base_role in ('previous', 'days_28')

),

parameters as (

    select currency
    from {{ ref('dated_decision_parameters') }}
    where {{ is_valid_parameter() }}

),

final as (

    select bases.*
    from bases
    cross join parameters
    where
        exists (
            select
            from {{ ref('fct_churn_score') }} as scores
            where
                scores.scoring_run_key = bases.base_run_number
                and scores.currency = parameters.currency
        )

)

select * from final
