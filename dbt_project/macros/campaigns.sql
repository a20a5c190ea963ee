{#
    Stop the build where more than one campaign holds on the night's day, or where its budget is in
    another currency than the costs that use it up. No campaign is an answer: nobody is assigned.
#}
{% macro require_valid_campaign(campaigns, decisions) -%}
    {%- if execute and flags.WHICH in ['build', 'run'] -%}
        {%- set found = run_query(
            'select ' ~ label_definition() ~ ', ' ~ as_of_date() ~ '::text, count(*),'
            ~ ' min(currency), (select min(currency) from ' ~ decisions ~ ' where '
            ~ is_valid_parameter() ~ ') from ' ~ campaigns ~ ' where ' ~ is_valid_parameter()
        ).rows[0] -%}
        {%- if found[2] > 1 -%}
            {{ exceptions.raise_compiler_error(
                "Expected at most one campaign for dataset " ~ var('dataset')
                ~ " and label definition " ~ found[0] ~ " valid on " ~ found[1] ~ ", found "
                ~ found[2]
                ~ ". Mend valid_from and valid_to in dbt_project/seeds/campaign_parameters.csv."
            ) }}
        {%- endif -%}
        {%- if found[2] == 1 and found[3] != found[4] -%}
            {{ exceptions.raise_compiler_error(
                "Expected the campaign of " ~ found[1] ~ " to have its budget in " ~ found[4]
                ~ ", the currency of the decision parameters, found " ~ found[3]
                ~ ". Correct dbt_project/seeds/campaign_parameters.csv."
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#
    Whether the campaign holds a customer out: a uniform draw by campaign, seed and customer, hence
    the same on every night and in every run.
#}
{% macro is_held_out(customer_id, campaign) -%}
    ('x' || left(
            encode(
                sha256(convert_to(
                    concat_ws(
                        ':', {{ campaign }}.campaign_id, {{ campaign }}.assignment_seed,
                        {{ customer_id }}
                    ),
                    'UTF8'
                )),
                'hex'
            ), 8
        ))::bit(32)::bigint < {{ campaign }}.holdout_share * 4294967296
{%- endmacro %}

{#
    Customers to be left alone tonight: in either arm of an earlier night's campaign whose cooldown
    has not passed, or, where the dataset's features tell it, treated by the source of its own
    accord within 90 days. `assignments` is fct_treatment_assignment, or none before it is first built.
#}
{% macro resting_customers(assignments) -%}
    select null::text as customer_id
    where false
    {%- if assignments %}
    union
    select assignments.customer_id
    from {{ assignments }} as assignments
    inner join {{ ref('int_run_bases_numbered') }} as bases
        on assignments.scoring_run_key = bases.base_run_number
    where
        bases.run_id = {{ run_id() }}
        and bases.base_role = 'recent'
        and assignments.cooldown_until_date > {{ as_of_date() }}
    {%- endif %}
    {%- if 'treatments_90d' in feature_names() %}
    union
    select customer_id
    from {{ dataset_ref('customer_features') }}
    where
        {{ is_this_night() }}
        and treatments_90d > 0
    {%- endif %}
{%- endmacro %}

{# The columns of the dataset's customer_features. #}
{% macro feature_names() -%}
    {%- set name = 'model.churn_warehouse.' ~ var('dataset') ~ '__customer_features' -%}
    {{ return(graph.nodes[name].columns.keys() | list if execute else []) }}
{%- endmacro %}
