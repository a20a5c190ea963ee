-- A sound night of 200 customers (limits of one in a hundred need that many), every fourth
-- of them gone, in the shape that landing, dbt and the scorer leave it. The session's
-- churn.run_id names the run. Tables are made the first time, without keys, so that tests
-- can break them.
set role churn_loader;
insert into ops.landing_batches (
    entity, file_name, file_format, file_sha256, file_byte_count, as_of_date, known_at, run_id,
    is_first_load, row_count_in_file, row_count_landed, row_count_quarantined
)
select 'customers', 'telco.csv', 'csv', md5(run_id) || md5(run_id), 1, as_of_date, known_as_of, run_id,
    false, 200, 200, 0
from ops.pipeline_runs where run_id = current_setting('churn.run_id');

insert into raw.customers
select
    batches.batch_id, number, batches.as_of_date, batches.known_at, batches.landed_at,
    'c' || number, case when number % 2 = 0 then 'Female' else 'Male' end, '0', 'Yes', 'No',
    number::text, 'Yes', 'No', 'DSL', 'No', 'Yes', 'No', 'No', 'No', 'Yes', 'Month-to-month', 'Yes',
    'Mailed check', '50.25', ' ', case when number % 4 = 0 then 'Yes' else 'No' end
from ops.landing_batches as batches cross join generate_series(1, 200) as number
where batches.run_id = current_setting('churn.run_id');

set role churn_transformer;
create table if not exists features.customer_population (
    customer_id text, as_of_date date, known_as_of timestamptz, is_active boolean, is_eligible boolean,
    exclusion_reason text
);
create table if not exists features.customer_features (
    customer_id text, as_of_date date, known_as_of timestamptz, tenure_months integer, contract text
);
create table if not exists features.customer_labels (
    customer_id text, as_of_date date, known_as_of timestamptz, label_definition text, churned boolean,
    label_status text
);
create table if not exists features.customer_values (
    customer_id text, as_of_date date, known_as_of timestamptz, monthly_value_amount numeric(18, 2),
    currency text, value_status text
);
create table if not exists features.decision_parameters (
    dataset text, label_definition text, valid_from date, valid_to date, tier_medium_from numeric,
    tier_high_from numeric
);
create table if not exists features.campaign_parameters (
    dataset text, label_definition text, valid_from date, valid_to date, holdout_share numeric
);
create table if not exists features.feature_contract (
    feature_name text, data_type text, is_nullable boolean
);
create table if not exists marts.fct_churn_score (
    run_id text, customer_id text, as_of_date date, is_active boolean, churn_probability double precision,
    risk_tier text, monthly_value_amount numeric(18, 2), value_at_risk_amount numeric(18, 2),
    expected_revenue_loss_amount numeric(18, 2), currency text, model_version text,
    risk_change_customer_pts numeric(9, 6)
);
create table if not exists marts.customer_churn_current (like marts.fct_churn_score);
create table if not exists marts.revenue_at_risk_daily (
    run_id text, risk_tier text, segment text, customer_count bigint,
    revenue_at_risk_amount numeric(18, 2), expected_revenue_loss_amount numeric(18, 2)
);
create table if not exists marts.churn_kpis_daily (
    run_id text, mrr_opening_amount numeric(18, 2), mrr_restatement_amount numeric(18, 2),
    mrr_currency_amount numeric(18, 2), mrr_new_amount numeric(18, 2), mrr_reactivation_amount numeric(18, 2),
    mrr_expansion_amount numeric(18, 2), mrr_contraction_amount numeric(18, 2),
    mrr_churn_amount numeric(18, 2), mrr_closing_amount numeric(18, 2),
    expected_revenue_loss_amount numeric(18, 2)
);
create table if not exists marts.fct_score_outcome (
    run_id text, scored_run_key integer, customer_key integer
);
create table if not exists marts.fct_treatment_assignment (
    run_id text, customer_id text, is_held_out boolean
);
create table if not exists marts.retention_queue (run_id text, customer_id text);
create table if not exists marts.dim_scoring_run (
    run_id text, customer_count bigint, active_count bigint, scored_count bigint
);

delete from features.feature_contract;
insert into features.feature_contract values
('tenure_months', 'integer', false), ('contract', 'text', false);
delete from features.decision_parameters;
insert into features.decision_parameters values ('telco', 'telco_30d', '2020-01-01', null, 0.40, 0.70);
delete from features.campaign_parameters;
insert into features.campaign_parameters values ('telco', 'telco_30d', '2020-01-01', null, 0.10);

insert into features.customer_population
select
    'c' || number, as_of_date, known_as_of, number % 4 <> 0, number % 4 <> 0,
    case when number % 4 = 0 then 'not_active' end
from ops.pipeline_runs cross join generate_series(1, 200) as number
where run_id = current_setting('churn.run_id');
insert into features.customer_features
select customer_id, as_of_date, known_as_of, 12, 'month_to_month'
from features.customer_population inner join ops.pipeline_runs using (as_of_date, known_as_of)
where run_id = current_setting('churn.run_id');
insert into features.customer_labels
select customer_id, as_of_date, known_as_of, 'telco_30d', not is_active, 'known'
from features.customer_population inner join ops.pipeline_runs using (as_of_date, known_as_of)
where run_id = current_setting('churn.run_id');
insert into features.customer_values
select customer_id, as_of_date, known_as_of, 50.25, 'USD', 'known'
from features.customer_population inner join ops.pipeline_runs using (as_of_date, known_as_of)
where run_id = current_setting('churn.run_id');

reset role;
insert into ml.model_versions
select
    'm1', run_id, dataset, 'telco_30d', 'logistic', 'cross_sectional', as_of_date, known_as_of, 1, 5, 200, 50,
    '[]', '{}', '{}', '', repeat('0', 64)
from ops.pipeline_runs where run_id = current_setting('churn.run_id')
on conflict do nothing;
select ops.ensure_score_partition(as_of_date)
from ops.pipeline_runs where run_id = current_setting('churn.run_id');
insert into scores.customer_scores
select
    as_of_date, run_id, customer_id, substr(customer_id, 2)::integer / 201.0,
    substr(customer_id, 2)::integer / 201.0, 'm1', true, '', known_as_of
from features.customer_population inner join ops.pipeline_runs using (as_of_date, known_as_of)
where run_id = current_setting('churn.run_id') and is_eligible;

set role churn_transformer;
insert into marts.fct_churn_score
select
    runs.run_id, customer_id, as_of_date, is_active, scores.churn_probability,
    case
        when scores.churn_probability >= 0.70 then 'high'
        when scores.churn_probability >= 0.40 then 'medium'
        when scores.churn_probability is not null then 'low'
    end,
    50.25, 603.00, round(scores.churn_probability::numeric * 603.00, 2), 'USD', scores.model_version,
    1.5
from features.customer_population
inner join ops.pipeline_runs as runs using (as_of_date, known_as_of)
left join scores.customer_scores as scores using (as_of_date, run_id, customer_id)
where runs.run_id = current_setting('churn.run_id');
insert into marts.customer_churn_current
select * from marts.fct_churn_score where run_id = current_setting('churn.run_id') and is_active;
insert into marts.revenue_at_risk_daily
select run_id, risk_tier, 'dsl', count(*), sum(value_at_risk_amount), sum(expected_revenue_loss_amount)
from marts.fct_churn_score
where run_id = current_setting('churn.run_id') and risk_tier is not null
group by run_id, risk_tier;
insert into marts.churn_kpis_daily
select run_id, 7500.00, -10.00, 0, 100.50, 0, 50.25, -20.00, -83.25, 7537.50, sum(expected_revenue_loss_amount)
from marts.fct_churn_score where run_id = current_setting('churn.run_id') group by run_id;
insert into marts.fct_score_outcome
select current_setting('churn.run_id'), 1, number from generate_series(1, 3) as number;
insert into marts.fct_treatment_assignment
select run_id, customer_id, customer_id in ('c101', 'c102')
from marts.customer_churn_current
where run_id = current_setting('churn.run_id') and substr(customer_id, 2)::integer between 101 and 126;
insert into marts.retention_queue
select run_id, customer_id from marts.fct_treatment_assignment
where run_id = current_setting('churn.run_id') and not is_held_out;
insert into marts.dim_scoring_run
select run_id, count(*), count(*) filter (where is_active), count(churn_probability)
from marts.fct_churn_score where run_id = current_setting('churn.run_id') group by run_id;
reset role;
