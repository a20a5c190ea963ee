-- Forget every night: drop what dbt builds, empty what the migrations made.
do $$
declare
    built record;
begin
    for built in
        select schemaname, tablename from pg_tables where schemaname in ('features', 'marts')
    loop
        execute format('drop table %I.%I', built.schemaname, built.tablename);
    end loop;
end
$$;
truncate ops.pipeline_runs, ops.landing_batches, raw.customers, scores.customer_scores, ml.model_versions cascade;
