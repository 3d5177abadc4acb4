# syntax=docker/dockerfile:1
# Two stages: the first installs what uv.lock names, the second has no compiler, no uv
# and no root.

FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md ./
COPY src ./src
RUN uv sync --frozen --no-dev --no-editable

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data posthouse \
    && install --directory --owner=posthouse --group=posthouse --mode=0700 /data
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH POSTHOUSE_DATA=/data POSTHOUSE_HOST=0.0.0.0
USER posthouse
VOLUME /data
EXPOSE 3000
# POSTHOUSE_SECRET must be given: without it nothing but this machine may reach the port.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/health/ready', timeout=2)"]
ENTRYPOINT ["posthouse"]
CMD ["serve"]
