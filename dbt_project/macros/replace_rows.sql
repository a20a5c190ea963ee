{#
    Incremental strategy `replace_rows`: delete the rows that the model's `replaces`
    condition names, then insert what the model gives. A night's rows are never replaced by
    none, as happens where the staged rows of a finished night are gone; a model that may
    rightly lose all of a night's rows says `may_become_empty`. `replaces` is night (the run's
    day and cut-off), labels (the nights that the run labels, at its cut-off), run, or everything
    (a table of definitions, which has no history of its own).
#}
{% macro get_incremental_replace_rows_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set replaces = config.require('replaces') -%}
    {%- if replaces == 'night' and not config.get('may_become_empty', false) -%}
        {{ require_rows(arg_dict['target_relation'], arg_dict['temp_relation']) }}
    {%- endif -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ rows_of_this_run(replaces) }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}

{# Stop before a night that has rows loses them all. #}
{% macro require_rows(target, given) -%}
    do $$
    declare
        former bigint;
    begin
        if exists (select from {{ given }}) then
            return;
        end if;
        select count(*) into former from {{ target }} where {{ is_this_night() }};
        if former > 0 then
            raise exception using message = format(
                'Expected rows of %s, known as of %s, for {{ target.schema }}.{{ target.identifier }}, '
                'found none to replace its %s rows, which stay. The rows it is built from are no longer '
                'staged: build the night again from layer staging (clear the run from dbt_staging).',
                {{ as_of_date() }}, {{ known_as_of() }}, former
            );
        end if;
    end
    $$;
    {% endmacro %}

{% macro rows_of_this_run(replaces) -%}
    {%- if replaces == 'night' -%}
        {{ is_this_night() }}
    {%- elif replaces == 'run' -%}
        run_id = {{ run_id() }}
    {%- elif replaces == 'everything' -%}
        true
    {%- elif replaces == 'labels' -%}
        known_as_of = {{ known_as_of() }}
        and label_definition = {{ label_definition() }}
        and as_of_date in (
            select as_of_date
            from ops.label_nights
            where run_id = {{ run_id() }}
        )
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "Expected replaces to be 'night', 'labels', 'run' or 'everything', found " ~ replaces ~ "."
        ) }}
    {%- endif -%}
{%- endmacro %}
