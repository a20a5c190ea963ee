{#
    Post-hook of every mart, inside the transaction that creates or fills it: rights for BI
    and the auditor, and, where its rows carry their run, row-level security so that BI sees
    published runs only. What is in force already is left alone, so that a night takes no lock
    that a BI query would wait for.
#}
{% macro protect_mart() -%}
    {%- if config.get('materialized') == 'view' -%}
        alter view {{ this }} set (security_invoker = true);
        grant select on {{ this }} to bi_reader, churn_auditor;
    {%- else -%}
        {{ grant_mart() }}
        {%- if 'run_id' in model.columns %}
        {{ protect_table(reader_condition()) }}
        {%- endif %}
        {{ index_foreign_keys() }}
        analyze {{ this }};
    {%- endif -%}
{%- endmacro %}

{#
    Functions of the owner, evaluated once per query: the reader has no right on schema ops. What
    became of a night that is published no more is hidden with it, or it would count twice.
#}
{% macro reader_condition() -%}
    {%- if (config.get('meta') or {}).get('visible_runs') == 'current' -%}
        run_id = (select ops.current_run_id())
    {%- else -%}
        run_id = any((select ops.published_run_ids())::text[])
        {%- if 'scored_run_id' in model.columns %}
        and scored_run_id = any((select ops.published_run_ids())::text[])
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{# What BI and the auditor may do with a table; without REFERENCES BI tools see no keys. #}
{% macro grant_mart() -%}
    do $$
    begin
        if not has_table_privilege('bi_reader', '{{ this }}', 'select')
            or not has_table_privilege('bi_reader', '{{ this }}', 'references')
        then
            grant select, references on {{ this }} to bi_reader;
        end if;
        if not has_table_privilege('churn_auditor', '{{ this }}', 'select') then
            grant select on {{ this }} to churn_auditor;
        end if;
    end
    $$;
{%- endmacro %}

{% macro protect_table(condition) -%}
    do $$
    begin
        if not (select relrowsecurity from pg_class where oid = '{{ this }}'::regclass) then
            alter table {{ this }} enable row level security;
        end if;
        if not exists (
            select from pg_policy
            where
                polrelid = '{{ this }}'::regclass
                and obj_description(oid, 'pg_policy') = '{{ condition }}'
        ) then
            drop policy if exists published_runs on {{ this }};
            create policy published_runs on {{ this }}
            for select to bi_reader using ({{ condition }});
            comment on policy published_runs on {{ this }} is '{{ condition }}';
        end if;
        if not exists (
            select from pg_policy
            where polrelid = '{{ this }}'::regclass and polname = 'every_run'
        ) then
            create policy every_run on {{ this }}
            for select to churn_auditor using (true);
        end if;
    end
    $$;
{%- endmacro %}
