{#
    Typed versions of the records of one entity, every batch that is not staged yet, whatever
    the cut-off of the run. A verdict on a row depends only on rows known no later than itself,
    so what arrives later never changes what an earlier cut-off saw, and the order of arrival
    does not matter.

    entity  the raw table
    key     columns that name a record
    casts   see `cast_value`; event_at, revision and is_deleted are added

    verdicts (reject_reason; null is accepted), the first that holds:
      rejected_value         a value did not cast; reject_detail says which and why
      event_in_future        it happened after the warehouse could have known it
      moved_event            the record was first known with another event_at
      duplicate              the same content under the same revision was known before
      conflicting_duplicate  other content under the same revision was known before
    superseded_at is the known time of the first accepted higher revision.
#}
{% macro versions(entity, key, casts) -%}
    {%- set all_casts = version_casts() + blank_where_deleted(casts, key) -%}
    {%- set has_fixed_event = 'event_at' in key -%}
    {%- set keys = key | join(', ') -%}
    with

    new_rows as (

        select
            _batch_id as batch_id,
            _row_number as row_number,
            _known_at as known_at,
            {{- delivered_columns(all_casts) | indent(8) }}
        from {{ source('subscriptions', entity) }}
        where _batch_id = any(array(select batch_id from pg_temp.new_batches))

    ),

    typed as (

        select
            *,
            {{- cast_columns(all_casts) | indent(8) }}
        from new_rows
        -- A fence: without it every cast is worked out once per place that names it.
        offset 0

    ),

    checked as (

        select
            {{- typed_columns(all_casts) | indent(8) }},
            known_at,
            batch_id,
            row_number,
            {{ rejected_columns(all_casts) | indent(8) }} as reject_detail
        from typed
        offset 0

    ),

    judged as materialized (

        select
            *,
            case
                when reject_detail is not null then 'rejected_value'
                when event_at > known_at then 'event_in_future'
            end as reject_reason,
            hash_record_extended(
                row({{ typed_columns(all_casts) | trim }}), 0
            ) as row_hash,
            hash_record_extended(row({{ keys }}), 0) as record_hash
        from checked

    ),

    {%- if is_incremental() %}

    former as materialized (

        {{ find_versions(
            this, key,
            'select distinct ' ~ keys ~ ' from judged where reject_reason is null'
        ) | indent(8) }}

    ),
    {%- endif %}

    -- Records of more than one row; a hash that two records share does no harm.
    shared as materialized (

        select record_hash
        from judged
        where reject_reason is null
        group by record_hash
        having count(*) > 1
        {%- if is_incremental() %}
        union
        select hash_record_extended(row({{ keys }}), 0) as record_hash
        from former
        {%- endif %}

    ),

    comparable as (

        select
            {{- typed_columns(all_casts) | indent(8) }},
            known_at,
            batch_id,
            row_number,
            row_hash
        from judged
        where
            reject_reason is null
            and record_hash in (select shared.record_hash from shared)
        {%- if is_incremental() %}
        union all
        select
            {{- typed_columns(all_casts) | indent(8) }},
            known_at,
            batch_id,
            row_number,
            row_hash
        from former
        {%- endif %}

    ),

    numbered as (

        select
            *,
            {%- if has_fixed_event %}
            event_at as first_event_at,
            {%- else %}
            first_value(event_at) over (
                partition by {{ keys }}
                order by known_at, revision, row_hash, batch_id, row_number
            ) as first_event_at,
            {%- endif %}
            first_value(row_hash) over copies as first_hash,
            row_number() over copies as copy_number
        from comparable
        window copies as (
            partition by {{ keys }}, revision{{ ', event_at' if not has_fixed_event }}
            order by known_at, row_hash, batch_id, row_number
        )

    ),

    compared as (

        select
            *,
            case
                when event_at <> first_event_at then 'moved_event'
                when copy_number > 1 and row_hash = first_hash then 'duplicate'
                when copy_number > 1 then 'conflicting_duplicate'
            end as verdict
        from numbered

    ),

    final as (

        select
            {{- typed_columns(all_casts) | indent(8) }},
            known_at,
            min(known_at) filter (where verdict is null) over (
                partition by {{ keys }}
                order by revision desc
                groups between unbounded preceding and 1 preceding
            ) as superseded_at,
            verdict as reject_reason,
            null as reject_detail,
            row_hash,
            batch_id,
            row_number
        from compared
        union all
        select
            {{- typed_columns(all_casts) | indent(8) }},
            known_at,
            null as superseded_at,
            null as reject_reason,
            null as reject_detail,
            row_hash,
            batch_id,
            row_number
        from judged
        where
            reject_reason is null
            and not exists (
                select from shared
                where shared.record_hash = judged.record_hash
            )
        union all
        select
            {{- typed_columns(all_casts) | indent(8) }},
            known_at,
            null as superseded_at,
            reject_reason,
            reject_detail,
            row_hash,
            batch_id,
            row_number
        from judged
        where reject_reason is not null

    )

    select * from final
{%- endmacro %}

{# What every version carries beside its own columns. #}
{% macro version_casts() -%}
    {{ return([
        {'source': 'event_at', 'type': 'timestamp'},
        {'source': 'revision', 'type': 'integer', 'least': 1},
        {'source': 'is_deleted', 'type': 'flag', 'accepts': {'true': true, 'false': false}},
    ]) }}
{%- endmacro %}

{# A deletion names its record; the rest of the row may be blank. #}
{% macro blank_where_deleted(casts, key) -%}
    {%- set changed = [] -%}
    {%- for cast in casts -%}
        {%- if cast.source in key -%}
            {%- do changed.append(cast) -%}
        {%- else -%}
            {%- set blank = [cast.blank_where, 'is_deleted'] | select | join(' or ') -%}
            {%- do changed.append(dict(cast, blank_where=blank)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(changed) }}
{%- endmacro %}

{# Rows whose verdict depends on other rows of their record. #}
{% macro was_compared(relation_alias) -%}
    coalesce({{ relation_alias }}.reject_reason, '')
            not in ('rejected_value', 'event_in_future')
{%- endmacro %}

{#
    Pre-hook of a model of versions, in its transaction: which batches it takes in. A
    table and not a condition, since a batch may land between the model and its post-hook.
#}
{% macro find_new_batches(entity) -%}
    {%- if not is_incremental() -%}
    delete from ops.staged_batches where model = '{{ this.identifier }}';
    {%- endif %}
    create temporary table new_batches on commit drop as
    select batches.batch_id
    from ops.landing_batches as batches
    where
        batches.entity = '{{ entity }}'
        and not exists (
            select
            from ops.staged_batches as staged
            where
                staged.model = '{{ this.identifier }}'
                and staged.batch_id = batches.batch_id
        );
{%- endmacro %}

{# Post-hook of a model of versions: what it took in, its indexes, its statistics. #}
{% macro register_new_batches() -%}
    insert into ops.staged_batches (model, batch_id)
    select '{{ this.identifier }}', batch_id
    from pg_temp.new_batches;
    create index if not exists {{ this.identifier }}_rejected
    on {{ this }} (known_at) where reject_reason is not null;
    select brin_summarize_new_values(indexes.indexrelid)
    from pg_index as indexes
    inner join pg_class as classes
        on indexes.indexrelid = classes.oid
    inner join pg_am as methods
        on classes.relam = methods.oid
    where indexes.indrelid = '{{ this }}'::regclass and methods.amname = 'brin';
    analyze {{ this }};
{%- endmacro %}

{#
    The compared rows of the given records, and their place in the table. Each record is
    looked up by the index of its key; where the key holds the moment, by the index of
    moments, which takes far less room. Either way nothing else is read, however the
    planner estimates.
#}
{% macro find_versions(relation, key, given) -%}
    {%- if 'event_at' in key -%}
        select
            versions.*,
            versions.ctid as place
        from {{ relation }} as versions
        inner join ({{ given }}) as given
            using ({{ key | join(', ') }})
        where
            {{ was_compared('versions') }}
            and versions.event_at = any(array(
                select distinct moments.event_at from ({{ given }}) as moments
            ))
    {%- else -%}
        select found.*
        from ({{ given }}) as given
        cross join lateral (
            select
                versions.*,
                versions.ctid as place
            from {{ relation }} as versions
            where
                {{ was_compared('versions') }}
                {%- for column in key %}
                and versions.{{ column }} = given.{{ column }}
                {%- endfor %}
            offset 0
        ) as found
    {%- endif -%}
{%- endmacro %}

{#
    Incremental strategy `replace_versions`: the model gives its new rows, and again every
    former row of the records they touch; those former rows are replaced.
#}
{% macro get_incremental_replace_versions_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set key = config.require('meta')['record_key'] -%}
    {%- set touched -%}
        select distinct {{ key | join(', ') }}
        from {{ arg_dict['temp_relation'] }}
        where batch_id not in (select batch_id from pg_temp.new_batches)
    {%- endset -%}
    delete from {{ arg_dict['target_relation'] }}
    where ctid = any(array(
        select place
        from ({{ find_versions(arg_dict['target_relation'], key, touched) }}) as former
    ));
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}
