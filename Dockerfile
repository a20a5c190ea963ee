# The project and its Airflow, for docker-compose.yml. Packages come from the index that pip is set up
# with; every one is checked against the hashes of the lock.
FROM python:3.11-slim-bookworm

ARG CHURN_CODE_VERSION=unknown
ENV CHURN_CODE_VERSION=${CHURN_CODE_VERSION} \
    CHURN_PROJECT_DIR=/opt/churn \
    CHURN_HOME=/var/lib/churn \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

RUN useradd --create-home --uid 50000 --shell /usr/sbin/nologin churn \
    && install --directory --owner churn --group churn --mode 0750 /var/lib/churn /var/lib/churn-reader

WORKDIR /opt/churn
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml ./
COPY churn_ml churn_ml
RUN pip install --no-deps --no-build-isolation --no-index .
COPY airflow airflow
COPY bi bi
COPY datasets datasets
# dbt and Great Expectations may write beside their own files.
COPY --chown=churn:churn dbt_project dbt_project
COPY --chown=churn:churn great_expectations great_expectations

USER churn
VOLUME /var/lib/churn
CMD ["churn-ml", "--help"]
