{#
    Amounts and shares in their bounds, no validities that cross, a cooldown within the 120 days
    that a night looks back, and one treatment, seed, share and currency to a campaign.
#}
{% test campaign_parameters_are_coherent(model) %}
    select parameters.valid_from
    from {{ model }} as parameters
    where
        not (
            budget_amount > 0
            and capacity_count > 0
            and holdout_share > 0
            and holdout_share < 1
            and cooldown_days between 1 and 120
            and least_arm_count > 0
            and least_left_count > 0
            and currency ~ '^[A-Z]{3}$'
            and coalesce(valid_from < valid_to, true)
        )
        or exists (
            select
            from {{ model }} as later
            where
                later.dataset = parameters.dataset
                and later.label_definition = parameters.label_definition
                and later.valid_from > parameters.valid_from
                and later.valid_from < coalesce(parameters.valid_to, 'infinity'::date)
        )
        or exists (
            select
            from {{ model }} as other
            where
                other.campaign_id = parameters.campaign_id
                and (
                    other.label_definition, other.treatment, other.assignment_seed,
                    other.holdout_share, other.currency
                ) <> (
                    parameters.label_definition, parameters.treatment,
                    parameters.assignment_seed, parameters.holdout_share,
                    parameters.currency
                )
        )
{% endtest %}
