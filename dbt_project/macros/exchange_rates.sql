{#
    Amounts are converted at the as-of date into the reporting currency, that of the decision
    parameters. A rate is what one unit of `currency` is in `reporting_currency`.
#}

{% macro is_valid_rate(day) -%}
    valid_from <= {{ day }}
        and ({{ day }} < valid_to or valid_to is null)
{%- endmacro %}

{# Stop the build unless every foreign currency of the night's customers has exactly one rate. #}
{% macro require_exchange_rates(customer_values, parameters, exchange_rates) -%}
    {%- if execute and flags.WHICH in ['build', 'run'] -%}
        {%- set query -%}
            select
                found.currency,
                parameters.currency,
                count(distinct found.customer_id),
                (
                    select count(*)
                    from {{ exchange_rates }} as rates
                    where
                        rates.currency = found.currency
                        and rates.reporting_currency = parameters.currency
                        and {{ is_valid_rate(as_of_date()) }}
                ),
                {{ as_of_date() }}::text
            from {{ customer_values }} as found
            cross join (
                select currency from {{ parameters }} where {{ is_valid_parameter() }}
            ) as parameters
            where {{ is_this_night('found') }} and found.currency <> parameters.currency
            group by found.currency, parameters.currency
            order by 1
        {%- endset -%}
        {%- set unpriced = [] -%}
        {%- for row in run_query(query).rows if row[3] != 1 -%}
            {%- do unpriced.append(
                row[0] ~ " to " ~ row[1] ~ " (" ~ row[2] ~ " customers): found " ~ row[3]
                ~ " valid on " ~ row[4]
            ) -%}
        {%- endfor -%}
        {%- if unpriced -%}
            {{ exceptions.raise_compiler_error(
                "Expected one exchange rate for each currency of dataset " ~ var('dataset') ~ ". "
                ~ unpriced | join('; ')
                ~ ". Mend the rows in dbt_project/seeds/exchange_rates.csv."
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
