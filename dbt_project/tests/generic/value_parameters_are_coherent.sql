{# Each definition has its own number in bounds, and no validities that cross. #}
{% test value_parameters_are_coherent(model) %}
    select parameters.valid_from
    from {{ model }} as parameters
    where
        not coalesce(
            case value_definition
                when 'balance_margin'
                    then annual_margin_share between 0 and 1 and monthly_amount is null
                when 'fixed_amount'
                    then monthly_amount >= 0 and annual_margin_share is null
            end
            and coalesce(valid_from < valid_to, true),
            false
        )
        or exists (
            select
            from {{ model }} as later
            where
                later.dataset = parameters.dataset
                and later.value_definition = parameters.value_definition
                and later.valid_from > parameters.valid_from
                and later.valid_from < coalesce(parameters.valid_to, 'infinity'::date)
        )
{% endtest %}
