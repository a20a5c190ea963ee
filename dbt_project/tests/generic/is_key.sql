{#
    No two rows share the key and no part of it is null. A primary key that Postgres holds
    is proof enough, whatever the size; without one the rows are counted.
#}
{% test is_key(model, columns) %}
    {{ config(fail_calc="coalesce(sum(fault_count), 0)") }}
    {#- A test with a `where` gets a subquery in place of the relation. -#}
    {%- set query -%}
        select count(*)
        from pg_constraint as keys
        where
            keys.conrelid = to_regclass('{{ model.schema }}.{{ model.identifier }}')
            and keys.contype = 'p'
            and (
                select array_agg(attributes.attname::text order by attributes.attname)
                from pg_attribute as attributes
                where
                    attributes.attrelid = keys.conrelid
                    and attributes.attnum = any(keys.conkey)
            ) = array['{{ columns | sort | join("', '") }}']
    {%- endset -%}
    {%- if execute and model is not string and run_query(query).columns[0][0] == 1 -%}
        select 0 as fault_count
    {%- else -%}
        select
            {{ columns | join(', ') }},
            count(*) as fault_count
        from {{ model }}
        group by {{ columns | join(', ') }}
        having
            count(*) > 1
            {%- for column in columns %}
            or {{ column }} is null
            {%- endfor %}
    {%- endif -%}
{% endtest %}
