{#
    One BRIN index over those foreign keys of a mart that no index serves yet. Its columns stand
    alone, it takes a few pages, and nights lie one after the other, so that days, runs and models
    are found by it. Made once: a night that finds it takes no lock.
#}
{% macro index_foreign_keys() -%}
    do $$
    declare
        bare text;
    begin
        select string_agg(distinct quote_ident(attname), ', ') into bare
        from pg_constraint
        inner join pg_attribute on attrelid = conrelid and attnum = conkey[1]
        where conrelid = '{{ this }}'::regclass and contype = 'f' and not exists (
            select from pg_index
            inner join pg_class as indexes on indexrelid = indexes.oid
            inner join pg_am on relam = pg_am.oid
            where
                indrelid = conrelid
                and (indkey[0] = conkey[1] or (amname = 'brin' and conkey[1] = any(indkey)))
        );
        if bare is not null then
            execute format('create index on {{ this }} using brin (%s)', bare);
        end if;
    end
    $$;
{%- endmacro %}
