{#
    The ends of subscriptions that count as leaving: none is open still, nor opened again within
    the grace. It reads the CTEs `spells` and `definitions` (its grace) of the model that calls
    it; `since` is the first moment that matters.
#}
{% macro lasting_ends(since) -%}
    select
        ends.customer_id,
        ends.valid_from as ended_at,
        ends.change_type
    from spells as ends
    cross join definitions
    where
        not ends.is_open
        and ends.valid_from >= {{ since }}
        and not exists (
            select
            from spells as reopenings
            where
                reopenings.customer_id = ends.customer_id
                and reopenings.is_open
                and reopenings.valid_from < ends.valid_from + definitions.grace
                and ends.valid_from < coalesce(reopenings.valid_to, 'infinity')
        )
{%- endmacro %}
