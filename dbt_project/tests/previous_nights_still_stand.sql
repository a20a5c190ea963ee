-- A night that risk is compared with has rows: without them no change would be told.
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
        and base_role in ('previous', 'days_7', 'days_28')

),

final as (

    select bases.*
    from bases
    where
        not exists (
            select
            from {{ ref('fct_churn_score') }} as scores
            where scores.scoring_run_key = bases.base_run_number
        )

)

select * from final
