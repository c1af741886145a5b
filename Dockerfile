# Builds the wheel, then installs it from the lock file into a small image that runs as nobody in particular.
FROM python:3.13-slim AS build
COPY --from=ghcr.io/astral-sh/uv:latest /uv /usr/local/bin/uv
WORKDIR /source
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY src ./src
RUN uv export --frozen --no-dev --no-emit-project --extra postgres --extra redis --extra otel -o requirements.txt -q \
 && uv venv /opt/bridge \
 && uv pip install --python /opt/bridge/bin/python --require-hashes -r requirements.txt \
 && uv build --wheel -q \
 && uv pip install --python /opt/bridge/bin/python --no-deps dist/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home bridge
COPY --from=build /opt/bridge /opt/bridge
ENV PATH=/opt/bridge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 \
    BRIDGE_HOST=0.0.0.0 BRIDGE_DATABASE_URL=sqlite:////data/bridge.db
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8700
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8700/health/live', timeout=2)"]
ENTRYPOINT ["klaviyo-bridge"]
CMD ["up"]
