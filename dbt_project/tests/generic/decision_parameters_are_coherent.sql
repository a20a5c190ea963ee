{# Tiers in order, shares within 0-1, no negative amount, no validities that cross. #}
{% test decision_parameters_are_coherent(model) %}
    select parameters.valid_from
    from {{ model }} as parameters
    where
        not (
            0 < tier_medium_from
            and tier_medium_from < tier_high_from
            and tier_high_from < 1
            and value_horizon_months > 0
            and margin_share between 0 and 1
            and acceptance_share between 0 and 1
            and contact_cost_amount >= 0
            and offer_cost_amount >= 0
            and max_age_days > 0
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
{% endtest %}
