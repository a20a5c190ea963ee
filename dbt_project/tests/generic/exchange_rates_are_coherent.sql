{# Rates above 0 of two currencies, and no validities of a pair that cross. #}
{% test exchange_rates_are_coherent(model) %}
    select rates.valid_from
    from {{ model }} as rates
    where
        not coalesce(
            rates.rate > 0
            and rates.currency <> rates.reporting_currency
            and coalesce(rates.valid_from < rates.valid_to, true),
            false
        )
        or exists (
            select
            from {{ model }} as later
            where
                later.currency = rates.currency
                and later.reporting_currency = rates.reporting_currency
                and later.valid_from > rates.valid_from
                and later.valid_from < coalesce(rates.valid_to, 'infinity'::date)
        )
{% endtest %}
